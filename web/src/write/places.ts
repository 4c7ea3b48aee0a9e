// Where on the screen a place between words is; knows the marks that paragraphs leave on their words, nothing else.

const placeOf = (word: HTMLElement): number => Number(word.dataset["place"]);

/** The place next to a point: words that begin after it stand behind the caret. */
export function placeAt(story: HTMLElement, x: number, y: number): number {
  const blocks = [...story.querySelectorAll<HTMLElement>("p.block")];
  const block = blocks.find((one) => one.getBoundingClientRect().bottom >= y) ?? blocks.at(-1);
  const words = [...(block?.querySelectorAll<HTMLElement>("[data-place]") ?? [])];
  for (const word of words) {
    const boxes = [...word.getClientRects()];
    const box = boxes.find((one) => one.bottom > y);
    if (box && (box.top > y || (box.left + box.right) / 2 > x)) return placeOf(word);
  }
  const last = words.at(-1);
  return last ? placeOf(last) + 1 : 0;
}

/** The place a line above (-1) or below (1) the caret; null where there is none. */
export function besideLine(story: HTMLElement, caret: HTMLElement, step: -1 | 1): number | null {
  const { left, top, bottom, height } = caret.getBoundingClientRect();
  const words = [...story.querySelectorAll<HTMLElement>("[data-place]")];
  let best: { place: number; far: number } | null = null;
  for (const word of words) {
    const box = word.getBoundingClientRect();
    const away = step < 0 ? top - box.bottom : box.top - bottom;
    if (away < -height / 2) continue;
    const far = Math.round(away / Math.max(height, 1)) * 1e5 + Math.abs(box.left - left);
    if (!best || far < best.far) best = { place: placeOf(word), far };
  }
  return best?.place ?? null;
}
