// Colours for the 256 steps of a value: from cold over paper to warm around zero, else from paper to cold.

type Rgb = [number, number, number];

function rgb(hex: string): Rgb {
  const n = Number.parseInt(hex.slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

/** Colours as the bytes of a canvas hold them (little-endian RGBA). */
export function palette(low: number, high: number, paper: string, cold: string, warm: string): Uint32Array {
  const [from, down, up] = [rgb(paper), rgb(cold), rgb(warm)];
  const diverging = low < 0 && high > 0;
  const reach = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return Uint32Array.from({ length: 256 }, (_, step) => {
    const value = low + (step / 255) * (high - low);
    const share = diverging ? Math.abs(value) / reach : step / 255;
    const to = diverging && value > 0 ? up : down;
    const [r = 0, g = 0, b = 0] = from.map((part, i) => Math.round(part + ((to[i] ?? 0) - part) * share));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}
