// A small part of Markdown as plain data: headings, paragraphs, lists, tables, code. Nothing becomes HTML here.

export type Span = { kind: "text" | "code" | "strong" | "emphasis"; text: string };

export type Part =
  | { kind: "heading"; level: number; spans: Span[] }
  | { kind: "paragraph"; spans: Span[] }
  | { kind: "list"; ordered: boolean; items: Span[][] }
  | { kind: "table"; head: Span[][]; rows: Span[][][] }
  | { kind: "code"; text: string };

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]*)\]\([^)\s]*\)/g;
const ITEM = /^\s*(?:[-*+]|(\d+)[.)])\s+/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;

export function spans(text: string): Span[] {
  const made: Span[] = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > end) made.push({ kind: "text", text: text.slice(end, match.index) });
    const [whole, code, strong, emphasis, link] = match;
    if (code !== undefined) made.push({ kind: "code", text: code });
    else if (strong !== undefined) made.push({ kind: "strong", text: strong });
    else if (emphasis !== undefined) made.push({ kind: "emphasis", text: emphasis });
    else made.push({ kind: "text", text: link ?? "" });
    end = match.index + whole.length;
  }
  if (end < text.length) made.push({ kind: "text", text: text.slice(end) });
  return made;
}

const cells = (line: string): Span[][] =>
  line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => spans(cell.trim()));

/** Without the front matter that Hub cards begin with. */
function bodyOf(text: string): string {
  const match = /^---\r?\n[\s\S]*?\r?\n---\r?\n/.exec(text);
  return match ? text.slice(match[0].length) : text;
}

export function parts(text: string): Part[] {
  const lines = bodyOf(text).split(/\r?\n/);
  const made: Part[] = [];
  let at = 0;
  const line = (): string => lines[at] ?? "";
  const taken = (belongs: (line: string) => boolean): string[] => {
    const from = at;
    while (at < lines.length && belongs(line())) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const heading = HEADING.exec(line());
    if (!line().trim()) at += 1;
    else if (line().startsWith("```")) {
      at += 1;
      made.push({ kind: "code", text: taken((one) => !one.startsWith("```")).join("\n") });
      at += 1;
    } else if (heading) {
      made.push({ kind: "heading", level: heading[1]?.length ?? 1, spans: spans(heading[2] ?? "") });
      at += 1;
    } else if (line().trimStart().startsWith("|")) {
      const rows = taken((one) => one.trimStart().startsWith("|"));
      const ruled = /^[\s|:-]+$/.test(rows[1] ?? "");
      const named = ruled && /[^\s|]/.test(rows[0] ?? "");
      made.push({ kind: "table", head: named ? cells(rows[0] ?? "") : [], rows: rows.slice(ruled ? 2 : 0).map(cells) });
    } else if (ITEM.test(line())) {
      const ordered = ITEM.exec(line())?.[1] !== undefined;
      const items: string[] = [];
      for (const one of taken((next) => next.trim() !== "" && (ITEM.test(next) || /^\s/.test(next)))) {
        if (ITEM.test(one)) items.push(one.replace(ITEM, ""));
        else items.push(`${items.pop() ?? ""} ${one.trim()}`);
      }
      made.push({ kind: "list", ordered, items: items.map(spans) });
    } else {
      const first = at;
      const told = taken((one) => one.trim() !== "" && (at === first || !(HEADING.test(one) || ITEM.test(one) || /^(```|\s*\|)/.test(one))));
      made.push({ kind: "paragraph", spans: spans(told.map((one) => one.replace(/^>\s?/, "")).join(" ")) });
    }
  }
  return made;
}
