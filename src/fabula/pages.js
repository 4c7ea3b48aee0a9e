// What all pages are built with: elements, words, numbers, axes and the frame. Text only ever becomes text nodes.
const read = id => JSON.parse(document.getElementById(id).textContent);
const list = value => Array.isArray(value) ? value : [];
const is = x => typeof x === "number" && isFinite(x);
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const strings = read("strings"), at = { language: document.documentElement.lang, playing: null };
let redraw = [];

// Elements and words.
const fill = (node, attributes, kids) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...kids.flat(9).filter(kid => kid !== null && kid !== undefined && kid !== false));
  return node;
};
const h = (tag, attributes, ...kids) => fill(document.createElement(tag), attributes, kids);
const s = (tag, attributes, ...kids) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, kids);
const data = (tag, attributes, ...kids) => h(tag, { lang: "", translate: "no", ...attributes }, ...kids);
const tell = (key, values = {}) => strings[at.language][key].split(/(\{\w+\})/).map(part => /^\{\w+\}$/.test(part) ? values[part.slice(1, -1)] ?? "–" : part);
const say = (key, values) => tell(key, values).join("");
const section = (id, ...kids) => h("section", { id, "aria-labelledby": id + "-title" }, h("h2", { id: id + "-title" }, say(id + "_title")), ...kids);
const range = (id, label, length, value, oninput) => h("input", { id, type: "range", min: 0, max: Math.max(0, length - 1), step: 1, value, "aria-label": label, oninput: event => oninput(Number(event.target.value)) });
const figure = (value, label, sub) => h("div", {}, h("b", {}, value), h("span", {}, label), sub && h("span", { class: "soft" }, sub));
const facts = rows => h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

// Numbers.
const count = n => is(n) ? n.toLocaleString("en-US") : "–";
const digits = (x, n) => is(x) ? x.toFixed(n).replace("-", "−") : "–";
const percent = (x, n = 1) => is(x) ? (x * 100).toFixed(n).replace(/^100\.0$/, "100") + "%" : "–";

// Curves: the steps of an axis, from at most `low` to at least `high`; a line; words beside it; the row next to a pointer.
const scale = (low, high, many) => {
  const rough = (high - low) / many || Math.abs(high) / many || 1, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 2.5, 5, 10].find(m => m * power >= rough - 1e-12) * power;
  const first = Math.floor(low / step + 1e-9), end = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: end - first + 1 }, (_, i) => (first + i) * step);
};
const track = (points, x, y, colour, width) => s("path", { d: points.map((point, i) => (i ? "L" : "M") + x(point).toFixed(1) + " " + y(point).toFixed(1)).join(""), fill: "none", stroke: `var(--${colour})`, "stroke-width": width, "stroke-linejoin": "round" });
const mark = (words, x, y, anchor, look) => s("text", { x, y, dy: ".35em", "text-anchor": anchor, ...look }, words);
const halo = colour => ({ style: `paint-order:stroke;stroke:var(--paper);stroke-width:4px;fill:var(--${colour})` });
const nearest = (rows, key, value) => rows.reduce((near, row, i) => Math.abs(row[key] - value) < Math.abs(rows[near][key] - value) ? i : near, 0);

// The frame around a page's parts, in one language; built anew when the language changes, drawn anew when the room does.
function present({ title, headline, parts, version }) {
  const button = document.getElementById("language");
  const build = () => {
    document.documentElement.lang = at.language;
    document.title = title() + " · fabula";
    button.textContent = say("switch"); button.lang = say("switch_lang"); button.setAttribute("aria-label", say("switch_label"));
    document.getElementById("brand").textContent = say("brand");
    document.getElementById("foot").textContent = say("foot", { version: String(version ?? "") });
    redraw = [];
    const made = parts.map(part => part()).flat(), sections = made.flatMap(part => part.matches("section") ? [part] : [...part.querySelectorAll("section")]);
    const contents = h("nav", { "aria-label": say("contents") }, h("ol", {}, sections.map(part => h("li", {}, h("a", { href: "#" + part.id }, part.querySelector("h2").textContent)))));
    document.getElementById("main").replaceChildren(...headline().flat().filter(Boolean), contents, ...made);
    redraw.forEach(draw => draw());
  };
  button.addEventListener("click", () => { at.language = at.language === "en" ? "zh" : "en"; build(); });
  let width = window.innerWidth, due = 0;
  const again = () => { cancelAnimationFrame(due); due = requestAnimationFrame(() => redraw.forEach(draw => draw())); };
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; again(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  build();
}
