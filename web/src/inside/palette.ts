// Colours for the 256 steps of a value: from cold over paper to warm around zero, else from paper to cold.

type Rgb = [number, number, number];

function rgb(hex: string): Rgb {
  const n = Number.parseInt(hex.slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

const valueOf = (step: number, low: number, high: number): number => low + (step / 255) * (high - low);

/** How far from zero the colours reach: all but one value in fifty lie within, so that a few strong ones do not pale the rest. */
export function reachOf(values: Uint8Array, low: number, high: number): number {
  const counts = new Uint32Array(256);
  for (const step of values) counts[step] = (counts[step] ?? 0) + 1;
  const steps = [...counts.keys()].sort((a, b) => Math.abs(valueOf(a, low, high)) - Math.abs(valueOf(b, low, high)));
  let seen = 0;
  for (const step of steps) {
    seen += counts[step] ?? 0;
    if (seen >= 0.98 * values.length) return Math.abs(valueOf(step, low, high)) || 1;
  }
  return 1;
}

/** Colours as the bytes of a canvas hold them (little-endian RGBA). */
export function palette(low: number, high: number, reach: number, paper: string, cold: string, warm: string): Uint32Array {
  const [from, down, up] = [rgb(paper), rgb(cold), rgb(warm)];
  const diverging = low < 0 && high > 0;
  return Uint32Array.from({ length: 256 }, (_, step) => {
    const value = valueOf(step, low, high);
    const share = diverging ? Math.min(1, Math.abs(value) / reach) : step / 255;
    const to = diverging && value > 0 ? up : down;
    const [r = 0, g = 0, b = 0] = from.map((part, i) => Math.round(part + ((to[i] ?? 0) - part) * share));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}
