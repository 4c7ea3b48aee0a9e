// What the server is asked and what it answers: the only place that knows the HTTP interface.

export interface Settings {
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number;
  repetition_penalty: number;
  no_repeat: number;
  dry: number;
  max_copy: number | null;
  ban: string[];
  ban_letters: string;
  seed: number;
}

export interface Model {
  name: string;
  unit: string;
  vocabulary: number;
  parameters: number;
  cell: string;
  layers: number;
  hidden: number;
  words: number | null;
  bits_per_byte: number | null;
  baseline_bits_per_byte: number | null;
  seconds?: number | null;
  precision: string;
  novelty: boolean;
  learned_here: boolean;
  sampling: Partial<Settings>;
}

export interface Shelf {
  version: string;
  home: string;
  can_learn: boolean;
  models: Model[];
}

export interface Word {
  number: number;
  text: string;
  own: boolean;
  bits: number | null;
  versions: number;
  copied: boolean;
}

export interface Bookmark {
  name: string;
  word: number;
  place: number | null;
}

export interface Copied {
  share: number;
  longest: number;
}

export interface View {
  id: string;
  title: string;
  model: string;
  changed: number;
  words: Word[];
  gap: number;
  offered: [number, number] | null;
  ended: boolean;
  copied: Copied | null;
  undo: boolean;
  redo: boolean;
  bookmarks: Bookmark[];
  settings: Settings;
  notice: string | null;
}

export type Kept = "word" | "sentence" | "paragraph" | "all";
export type Stretch = "word" | "sentence" | "paragraph" | "story";

export type Act =
  | { act: "put"; text: string; place?: number }
  | { act: "move"; place: number }
  | { act: "keep"; stretch: Kept }
  | { act: "take"; place: number; text: string; units: number[] }
  | { act: "turn"; place: number; step: 1 | -1 }
  | { act: "visit"; word: number }
  | { act: "throw" | "cut" | "undo" | "redo" }
  | { act: "mark"; name?: string }
  | { act: "unmark"; name: string };

export interface Draft {
  id: string;
  title: string;
  model: string;
  words: number;
  changed: number;
  bookmarks: number;
}

export interface Choice {
  text: string;
  chance: number;
  units: number[];
}

export interface TreeNode {
  id: number;
  parent: number | null;
  text: string;
  words: number;
  word: number;
  on_path: boolean;
  own: boolean;
}

export interface Insight {
  layers: number;
  hidden: number;
  kinds: string[];
  of: string;
  layer: number;
  /** `next` are the likeliest units after each, with their chances. */
  units: { text: string; bits: number | null; next: [string, number][] }[];
  low: number;
  high: number;
  values: Uint8Array;
  order: number[];
  cut: boolean;
}

export interface Neighbour {
  text: string;
  similarity: number;
}

export interface TextFile {
  name: string;
  bytes: number;
}

export type LessonState = "running" | "stopping" | "stopped" | "done" | "failed";

export interface Lesson {
  name: string;
  texts: string[];
  time: string;
  state: LessonState;
  error: string | null;
  begun: number;
  progress: number;
  seconds: number;
  resumable: boolean;
  model: boolean;
}

export interface LessonPlan {
  name: string;
  texts: string[];
  time: string;
  unit?: string;
}

export interface Measurement {
  step: number;
  seconds: number;
  held_out_bits_per_byte?: number | null;
  train_loss?: number | null;
}

export interface Sample {
  step: number;
  seconds: number | null;
  prompt: string;
  text: string;
}

/** Step, seconds, loss, accuracy, learning rate, units a second. */
export type CurvePoint = [number, number, number | null, number | null, number | null, number | null];

export interface LessonHistory {
  notes?: string[];
  unit?: string | null;
  parameters?: number | null;
  baseline: number | null;
  steps: CurvePoint[];
  metrics: Measurement[];
  samples: Sample[];
}

export interface LessonReport extends Lesson {
  history: LessonHistory;
  log: string;
}

/** A refusal of the server, or no answer at all (status 0): one line fit for people. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

type RawWord = [number, string, 0 | 1, number | null, number, 0 | 1];
type RawView = Omit<View, "words"> & { words: RawWord[] };

const ROOT = "/studio";
const KEY = "fabula.key";
let key = recalledKey();
let askForKey: (again: boolean) => Promise<string> = () => Promise.reject(new Refusal("A key is needed.", 401));
let asking: Promise<string> | null = null;

function recalledKey(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** Who asks the writer for the key when the server wants one. */
export function whenKeyIsNeeded(ask: (again: boolean) => Promise<string>): void {
  askForKey = ask;
}

async function renewKey(used: string | null): Promise<void> {
  if (used !== key) return; // another request has already got a new one
  asking ??= askForKey(key !== null).finally(() => (asking = null));
  key = await asking;
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // The key then lives as long as the page.
  }
}

function headers(json: boolean): Record<string, string> {
  return { ...(json ? { "Content-Type": "application/json" } : {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  for (;;) {
    const used = key;
    const options: RequestInit = { method, headers: headers(body !== undefined), cache: "no-store" };
    if (body !== undefined) options.body = JSON.stringify(body);
    if (signal) options.signal = signal;
    let response: Response;
    try {
      response = await fetch(ROOT + path, options);
    } catch (problem) {
      if (signal?.aborted) throw problem;
      throw new Refusal("", 0);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw refusal(response.status, await response.text());
    await renewKey(used);
  }
}

function refusal(status: number, body: string): Refusal {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown } };
    if (typeof error?.message === "string") return new Refusal(error.message, status);
  } catch {
    // Not ours; said below.
  }
  return new Refusal("", status);
}

async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  return (await (await ask(method, path, body)).json()) as T;
}

const part = encodeURIComponent;

function word([number, text, own, bits, versions, copied]: RawWord): Word {
  return { number, text, own: own === 1, bits, versions, copied: copied === 1 };
}

function view(raw: RawView): View {
  return { ...raw, words: raw.words.map(word) };
}

export const models = (): Promise<Shelf> => json("GET", "/models");

export const card = async (name: string): Promise<string> =>
  (await json<{ text: string }>("GET", `/models/${part(name)}/card`)).text;

export async function inside(model: string, question: { text: string; layer: number; of: string }): Promise<Insight> {
  type Raw = Omit<Insight, "values" | "cut"> & { values: string; cut?: boolean };
  const raw = await json<Raw>("POST", `/models/${part(model)}/inside`, question);
  return { ...raw, cut: raw.cut ?? false, values: Uint8Array.from(atob(raw.values), (letter) => letter.charCodeAt(0)) };
}

export const near = async (model: string, word: string): Promise<Neighbour[]> =>
  (await json<{ near: Neighbour[] }>("GET", `/models/${part(model)}/near?word=${part(word)}`)).near;

/** The address of a report or a download, good for one visit without the key; a ticket is for a path as it reads. */
async function ticket(path: string): Promise<string> {
  return encodeURI((await json<{ path: string }>("POST", "/tickets", { path: ROOT + path })).path);
}

export const reportAddress = (model: string): Promise<string> => ticket(`/models/${model}/report`);

export type Format = "txt" | "html" | "epub";

export const exportAddress = async (draft: string, as: Format): Promise<string> =>
  `${await ticket(`/drafts/${draft}/export`)}&as=${as}`;

export const drafts = async (): Promise<Draft[]> => (await json<{ drafts: Draft[] }>("GET", "/drafts")).drafts;

export const beginDraft = async (model: string, title?: string): Promise<View> =>
  view(await json("POST", "/drafts", title ? { model, title } : { model }));

export const draft = async (id: string): Promise<View> => view(await json("GET", `/drafts/${part(id)}`));

export const changeDraft = async (
  id: string,
  change: { title?: string; settings?: Partial<Settings>; model?: string },
): Promise<View> => view(await json("PATCH", `/drafts/${part(id)}`, change));

export const deleteDraft = (id: string): Promise<unknown> => json("DELETE", `/drafts/${part(id)}`);

export const act = async (id: string, what: Act): Promise<View> =>
  view(await json("POST", `/drafts/${part(id)}/act`, what));

export const choices = async (id: string, place: number): Promise<Choice[]> =>
  (await json<{ choices: Choice[] }>("GET", `/drafts/${part(id)}/choices?place=${place}`)).choices;

export const tree = async (id: string): Promise<TreeNode[]> =>
  (await json<{ nodes: TreeNode[] }>("GET", `/drafts/${part(id)}/tree`)).nodes;

export type News = { word: Word; place: number } | { copied: (Copied & { places: number[] }) | null };

type Told =
  | { word: RawWord; place: number }
  | { copied: (Copied & { places: number[] }) | null }
  | { view: RawView }
  | { error: { message: string } };

/** Let the model tell; what it says goes to `heard` as it comes. The whole view at the end, or null when it broke off. */
export async function tell(
  id: string,
  wish: { stretch: Stretch; again?: true },
  heard: (news: News) => void,
  signal: AbortSignal,
): Promise<View | null> {
  const response = await ask("POST", `/drafts/${part(id)}/tell`, wish, signal);
  for await (const data of events(response)) {
    const told = JSON.parse(data) as Told;
    if ("word" in told) heard({ word: word(told.word), place: told.place });
    else if ("copied" in told) heard(told);
    else if ("view" in told) return view(told.view);
    else if ("error" in told) throw new Refusal(told.error.message, 500);
  }
  return null;
}

async function* events(response: Response): AsyncGenerator<string> {
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = parts.pop() ?? "";
      for (const event of parts) {
        const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

export const texts = async (): Promise<TextFile[]> => (await json<{ texts: TextFile[] }>("GET", "/texts")).texts;

export const deleteText = (name: string): Promise<unknown> => json("DELETE", `/texts/${part(name)}`);

/** Bring a file; `moved` hears the share that has gone over (fetch cannot tell). */
export async function putText(name: string, body: Blob, moved: (share: number) => void): Promise<TextFile> {
  for (;;) {
    const used = key;
    const { status, answer } = await sent(`${ROOT}/texts/${part(name)}`, body, moved);
    if (status >= 200 && status < 300) return JSON.parse(answer) as TextFile;
    if (status !== 401) throw refusal(status, answer);
    await renewKey(used);
  }
}

function sent(path: string, body: Blob, moved: (share: number) => void): Promise<{ status: number; answer: string }> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => moved(event.total ? event.loaded / event.total : 0);
    request.onload = () => resolve({ status: request.status, answer: request.responseText });
    request.onerror = () => reject(new Refusal("", 0));
    request.send(body);
  });
}

export const lessons = async (): Promise<Lesson[]> => (await json<{ lessons: Lesson[] }>("GET", "/lessons")).lessons;

export const beginLesson = (plan: LessonPlan): Promise<Lesson> => json("POST", "/lessons", plan);

export const lesson = (name: string): Promise<LessonReport> => json("GET", `/lessons/${part(name)}`);

export const stopLesson = (name: string): Promise<Lesson> => json("POST", `/lessons/${part(name)}/stop`);

export const resumeLesson = (name: string): Promise<Lesson> => json("POST", `/lessons/${part(name)}/resume`);

export const deleteLesson = (name: string): Promise<unknown> => json("DELETE", `/lessons/${part(name)}`);
