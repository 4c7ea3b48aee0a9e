// Numbers, times and foreign text in a form fit to be shown.

// C0 and C1 controls but tab and line feed, and lone halves of surrogate pairs.
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|\p{Surrogate}/gu;
/** Embeddings, overrides and isolates: harmless only in a box of their own. */
const TURNING = /[\u202a-\u202e\u2066-\u2069]/;

/** Text of others with what cannot be seen made visible. */
export const shown = (text: string): string => text.replace(CONTROLS, "\ufffd");

export const turnsAround = (text: string): boolean => TURNING.test(text);

export const count = (n: number): string => Math.round(n).toLocaleString("en-US");

export const digits = (x: number, n: number): string => x.toFixed(n).replace("-", "−");

export const percent = (x: number): string => {
  const share = x * 100;
  return `${share !== 0 && Math.abs(share) < 9.95 ? share.toFixed(1) : share.toFixed(0)} %`;
};

/** A number with three figures, however large or small. */
export const figure = (x: number): string =>
  Math.abs(x) >= 1000 ? count(x) : String(Number(x.toPrecision(3))).replace("-", "−").replace("e-", "e−");

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${figure(n / 1000)} kB` : `${figure(n / 1e6)} MB`;
}

const SPANS = { en: ["h", "min", "s"], zh: ["小时", "分钟", "秒"] } as const;

/** Seconds as people say them: "1 h 5 min", "42 s". */
export function duration(seconds: number, language: "en" | "zh"): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const said = parts.map((n, i) => (n && (i < 2 || whole < 600) ? `${n} ${SPANS[language][i]}` : "")).filter(Boolean);
  return said.join(" ") || `0 ${SPANS[language][2]}`;
}

export function moment(unix: number, language: "en" | "zh"): string {
  const locale = language === "zh" ? "zh-CN" : "en-GB";
  return new Date(unix * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}
