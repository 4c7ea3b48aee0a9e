// The draft on the desk: what the server last said of it, and the acts that change it, one after the other.
import { tick } from "svelte";
import * as api from "../api";
import type { Act, Format, Kept, Model, News, Settings, Stretch, View } from "../api";
import { page, recall, remember, say } from "../page.svelte";
import { blocks, kept, sentenceEnd, type Block } from "./blocks";

/** Begins the address of a new story with a model. */
export const WITH = "with:";

const FIELD = "typed";
const PLAIN: Settings = {
  temperature: 0.8, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, no_repeat: 0, dry: 0,
  max_copy: null, ban: [], ban_letters: "", seed: 1,
};

/** A story that is not at the server yet: it gets there with the first act. */
const blank = (model: Model | undefined): View => ({
  id: "", title: "", model: model?.name ?? "", changed: 0, words: [], gap: 0, offered: null, ended: false, copied: null,
  undo: false, redo: false, bookmarks: [], settings: { ...PLAIN, ...model?.sampling }, notice: null,
});

export class Desk {
  view = $state.raw<View>(blank(undefined));
  blocks = $state.raw<Block[]>(blocks([], []));
  /** The model tells, or is about to. */
  telling = $state(false);
  /** The place whose other words are shown. */
  choosing = $state<number | null>(null);
  /** What stands in the field at the caret and has not been sent. */
  typed = $state("");
  stretch = $state<Stretch>("sentence");
  /** Counts whatever may have changed the tree. */
  changes = $state(0);
  #line: Promise<unknown> = Promise.resolve();
  #busy = $state(0);
  #teller: AbortController | null = null;
  #moving: number | null = null;
  #moved = 0;

  get begun(): boolean {
    return this.view.id !== "";
  }

  /** Something is offered that can be taken. */
  get offers(): boolean {
    const { offered, gap } = this.view;
    return offered !== null && offered[1] > gap;
  }

  get idle(): boolean {
    return this.#busy === 0 && !this.telling;
  }

  // Opening.

  start(model: Model | undefined): void {
    this.stop();
    remember("draft", WITH + (model?.name ?? ""));
    this.#show(blank(model));
    this.typed = recall("typed.") ?? "";
  }

  open(id: string): Promise<void> {
    this.stop();
    return this.#queue(async () => {
      this.#show(await api.draft(id));
      remember("draft", id);
      this.typed = recall(`typed.${id}`) ?? "";
    });
  }

  /** Ask again, for figures that come in portions. */
  refresh(): Promise<void> {
    return this.#queue(async () => this.#show(await api.draft(this.view.id)));
  }

  // Acts.

  act(what: Act): Promise<void> {
    this.stop();
    this.choosing = null;
    return this.#queue(async () => {
      await this.#ready();
      await this.#do(what);
    });
  }

  keep(stretch: Kept): Promise<void> {
    return this.offers ? this.act({ act: "keep", stretch }) : Promise.resolve();
  }

  /** The caret goes there at once; the server hears of it when it rests. */
  move(place: number): void {
    this.stop();
    const to = Math.max(0, Math.min(this.view.words.length, place));
    this.choosing = null;
    if (to === this.view.gap) return;
    this.#show({ ...this.view, gap: to });
    this.#moving = to;
    clearTimeout(this.#moved);
    this.#moved = setTimeout(() => void this.#queue(() => this.#ready()), 250);
  }

  write(text: string): void {
    this.typed = text;
    remember(`typed.${this.view.id}`, text || null);
  }

  /** Put what was typed into the story. */
  put(): Promise<void> {
    this.stop();
    return this.#queue(async () => {
      await this.#ready();
      await this.#put();
    });
  }

  /** Go on telling from the caret; `again` throws away what is offered and says something else. */
  goOn(again = false): Promise<void> {
    return this.#queueTelling(async (teller) => {
      if (await this.#put()) again = false;
      if (this.offers && !again) await this.#do({ act: "keep", stretch: "all" });
      await this.#tell(teller, again);
    });
  }

  /** One of the other words at a place, and the story goes on from there. */
  take(place: number, choice: api.Choice): Promise<void> {
    return this.#queueTelling(async (teller) => {
      await this.#do({ act: "take", place, text: choice.text, units: choice.units });
      await this.#tell(teller, false);
    });
  }

  turn(place: number, step: 1 | -1): Promise<void> {
    this.stop();
    return this.#queue(async () => {
      await this.#ready();
      await this.#do({ act: "turn", place, step });
    });
  }

  /** Backwards: what is offered goes; else the last word, one of the writer's own back into the field, to be mended. */
  takeBack(): Promise<void> {
    const { words, gap } = this.view;
    const last = words[gap - 1];
    if (this.offers) return this.act({ act: "throw" });
    if (!last || gap < words.length) {
      this.move(gap - 1);
      return Promise.resolve();
    }
    this.stop();
    return this.#queue(async () => {
      await this.#ready();
      await this.#do({ act: "move", place: gap - 1 });
      await this.#do({ act: "cut" });
      if (last.own) this.write(last.text.trimStart());
    });
  }

  change(change: { title?: string; settings?: Partial<Settings>; model?: string }): Promise<void> {
    return this.#queue(async () => {
      if (this.begun) this.#show(await api.changeDraft(this.view.id, change));
      else this.#show({ ...this.view, ...change, settings: { ...this.view.settings, ...change.settings } });
    });
  }

  /** Stop telling, or do not begin to; what was told stays. */
  stop(): void {
    this.#teller?.abort();
  }

  async exportAs(as: Format): Promise<string | undefined> {
    await this.put();
    return this.begun ? page.attempt(() => api.exportAddress(this.view.id, as)) : undefined;
  }

  // Within the line.

  #queue(run: () => Promise<void>): Promise<void> {
    this.#busy += 1;
    const next = this.#line.then(() => page.attempt(run)).then(() => {
      this.#busy -= 1;
    });
    this.#line = next;
    return next;
  }

  #queueTelling(run: (teller: AbortController) => Promise<void>): Promise<void> {
    this.stop();
    this.choosing = null;
    const teller = new AbortController();
    this.#teller = teller;
    this.telling = true;
    return this.#queue(async () => {
      try {
        await this.#ready();
        await run(teller);
      } finally {
        if (this.#teller === teller) this.telling = false;
      }
    });
  }

  /** The draft is at the server and the caret where it is seen. */
  async #ready(): Promise<void> {
    if (!this.begun) await this.#begin();
    if (this.#moving === null) return;
    const place = this.#moving;
    this.#moving = null;
    clearTimeout(this.#moved);
    await this.#do({ act: "move", place });
  }

  async #begin(): Promise<void> {
    const { title, model, settings } = this.view;
    const begun = await api.beginDraft(model, title || undefined);
    const changed = Object.entries(settings).some(([name, value]) => String(value) !== String(begun.settings[name as keyof Settings]));
    this.#show(changed ? await api.changeDraft(begun.id, { settings }) : begun);
    remember("draft", begun.id);
    remember("typed.", null);
    history.replaceState(null, "", `#write/${encodeURIComponent(begun.id)}`);
  }

  async #do(what: Act): Promise<void> {
    const view = await api.act(this.view.id, what);
    this.#moving = null;
    this.#show(view);
  }

  async #put(): Promise<boolean> {
    const { typed } = this;
    // A browser keeps a line feed at the end for the caret to stand behind.
    const text = typed.replace(/\n$/, "");
    if (!text.trim()) return false;
    await this.#do({ act: "put", text });
    if (this.typed === typed) this.write("");
    return true;
  }

  async #tell(teller: AbortController, again: boolean): Promise<void> {
    if (teller.signal.aborted) return;
    const heard: News[] = [];
    let frame = 0;
    const draw = (): void => {
      frame = 0;
      this.#hear(heard.splice(0));
    };
    if (again) this.#show({ ...this.view, words: this.view.words.slice(0, this.view.gap), offered: null });
    let view: View | null = null;
    try {
      const wish = again ? { stretch: this.stretch, again: true as const } : { stretch: this.stretch };
      view = await api.tell(this.view.id, wish, (news) => {
        heard.push(news);
        frame ||= requestAnimationFrame(draw);
      }, teller.signal);
    } catch (problem) {
      if (!teller.signal.aborted) throw problem;
    } finally {
      cancelAnimationFrame(frame);
      if (this.#teller === teller) this.telling = false;
      this.#show(view ?? (await api.draft(this.view.id)));
      page.spoken = this.#offeredText();
    }
  }

  #hear(heard: News[]): void {
    let { copied } = this.view;
    let words = [...this.view.words];
    for (const news of heard) {
      if ("word" in news) {
        words.length = Math.min(news.place, words.length);
        words.push(news.word);
      } else {
        const places = new Set(news.copied?.places);
        copied = news.copied;
        words = words.map((word, place) => (word.copied === places.has(place) ? word : { ...word, copied: !word.copied }));
      }
    }
    this.#show({ ...this.view, words, copied, offered: [this.view.gap, words.length] });
    if (sentenceEnd(words.at(-1)?.text ?? "")) page.spoken = this.#offeredText();
  }

  #offeredText(): string {
    const { offered, words } = this.view;
    return offered ? words.slice(...offered).map((word) => word.text).join("").trim() : "";
  }

  #show(view: View): void {
    const writing = document.activeElement?.id === FIELD;
    const words = kept(this.view.words, view.words);
    // A caret that moved while the server answered stays where it is seen.
    const gap = this.#moving === null ? view.gap : Math.min(this.#moving, words.length);
    this.view = { ...view, words, gap };
    this.blocks = blocks(words, this.blocks);
    this.changes += 1;
    if (writing) this.focus();
  }

  /** To the field, wherever the caret has brought it. */
  focus(): void {
    void tick().then(() => {
      const field = document.getElementById(FIELD);
      if (document.activeElement !== field) field?.focus();
    });
  }

  /** What the status line says of copying. */
  copying(): string {
    const { copied } = this.view;
    if (!copied) return say("copied_unknown");
    if (!copied.longest) return say("copied_none");
    return say("copied", { share: Math.round(copied.share * 100), longest: copied.longest });
  }
}
