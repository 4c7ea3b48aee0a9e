// A story's words as paragraphs; what did not change keeps its identity, so that only what did is drawn anew.
import type { Word } from "../api";

export interface Block {
  /** The number of its first word; 0 of a story without words. */
  key: number;
  /** Words before it. */
  start: number;
  words: Word[];
  /** Line feeds before it: two or more are a paragraph, one a new line. */
  breaks: number;
}

const BEFORE = /^\s*/;

/** The white space before a word and the word. */
export function parted(text: string): [string, string] {
  const space = BEFORE.exec(text)?.[0] ?? "";
  return [space.slice(space.lastIndexOf("\n") + 1), text.slice(space.length)];
}

const breaksBefore = (text: string): number => (BEFORE.exec(text)?.[0] ?? "").split("\n").length - 1;

const sameWord = (a: Word, b: Word): boolean =>
  a.text === b.text && a.own === b.own && a.bits === b.bits && a.versions === b.versions && a.copied === b.copied;

/** The new words, each as the old object where nothing about it changed. */
export function kept(old: readonly Word[], words: readonly Word[]): Word[] {
  const known = new Map(old.map((word) => [word.number, word]));
  return words.map((word) => {
    const before = known.get(word.number);
    return before && sameWord(before, word) ? before : word;
  });
}

export function blocks(words: readonly Word[], old: readonly Block[]): Block[] {
  const made: Block[] = [];
  words.forEach((word, place) => {
    const breaks = breaksBefore(word.text);
    const last = made.at(-1);
    if (last && !breaks) last.words.push(word);
    else made.push({ key: word.number, start: place, words: [word], breaks });
  });
  if (!made.length) made.push({ key: 0, start: 0, words: [], breaks: 0 });
  const known = new Map(old.map((block) => [block.key, block]));
  return made.map((block) => {
    const before = known.get(block.key);
    return before && sameBlock(before, block) ? before : block;
  });
}

const sameBlock = (a: Block, b: Block): boolean =>
  a.start === b.start &&
  a.breaks === b.breaks &&
  a.words.length === b.words.length &&
  a.words.every((word, i) => word === b.words[i]);

/** Whether a sentence ends with this word. */
export function sentenceEnd(text: string): boolean {
  return /[.!?…。！？]["'”’」』)]*$/.test(text);
}
