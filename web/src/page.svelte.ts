// What all views share: language, colours, the place in the page, and the one calm line for what went wrong.
import { Refusal } from "./api";
import { dictionary, type Key, type Language } from "./strings";

export type Theme = "auto" | "light" | "dark";
export const VIEWS = ["write", "learn", "inside", "shelf"] as const;
export type ViewName = (typeof VIEWS)[number];

/** A note that outlives a visit, where the browser allows any. */
export function recall(name: string): string | null {
  try {
    return localStorage.getItem(`fabula.${name}`);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`fabula.${name}`);
    else localStorage.setItem(`fabula.${name}`, value);
  } catch {
    // A browser that keeps nothing: then it is forgotten.
  }
}

function firstLanguage(): Language {
  const kept = recall("language");
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function firstTheme(): Theme {
  const kept = recall("theme");
  return kept === "light" || kept === "dark" ? kept : "auto";
}

function placed(): { name: ViewName; item: string } {
  const [name = "", ...rest] = location.hash.slice(1).split("/");
  const known = VIEWS.find((one) => one === name) ?? "write";
  try {
    return { name: known, item: decodeURIComponent(rest.join("/")) };
  } catch {
    return { name: known, item: "" };
  }
}

class Page {
  language = $state<Language>(firstLanguage());
  theme = $state<Theme>(firstTheme());
  place = $state.raw(placed());
  problem = $state("");
  /** What a screen reader is told; nobody sees it. */
  spoken = $state("");
  #prefersDark = matchMedia("(prefers-color-scheme: dark)");
  #dark = $state(this.#prefersDark.matches);

  constructor() {
    addEventListener("hashchange", () => {
      this.place = placed();
      this.problem = "";
    });
    this.#prefersDark.addEventListener("change", (event) => (this.#dark = event.matches));
  }

  get dark(): boolean {
    return this.theme === "auto" ? this.#dark : this.theme === "dark";
  }

  speak(language: Language): void {
    this.language = language;
    remember("language", language);
  }

  paint(theme: Theme): void {
    this.theme = theme;
    remember("theme", theme === "auto" ? null : theme);
  }

  go(name: ViewName, item = ""): void {
    location.hash = item ? `${name}/${encodeURIComponent(item)}` : name;
  }

  /** Run it; what goes wrong becomes the calm line. Nothing comes back then. */
  async attempt<T>(run: () => Promise<T>): Promise<T | undefined> {
    try {
      const result = await run();
      this.problem = "";
      return result;
    } catch (problem) {
      this.blame(problem);
      return undefined;
    }
  }

  blame(problem: unknown): void {
    if (problem instanceof DOMException && problem.name === "AbortError") return;
    if (problem instanceof Refusal) {
      this.problem = problem.message || (problem.status ? say("problem_status", { status: problem.status }) : say("problem_gone"));
    } else {
      this.problem = say("problem_page");
      console.error(problem);
    }
  }
}

export const page = new Page();

/** The words for something, in the language of the page, with values in their `{slots}`. */
export function say(key: Key, values: Record<string, string | number> = {}): string {
  return dictionary[page.language][key].replace(/\{(\w+)\}/g, (_, slot: string) => String(values[slot] ?? ""));
}
