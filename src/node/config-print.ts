/** What is in force and where it came from, for people and for programs. Secrets stay hidden. */
import type { ParsedConfig } from "./config.ts";
import type { ConfigKey } from "./config-keys.ts";
import { configKeyNames, envName, rowOf } from "./config-keys.ts";

const mask = "********";

/** Every key with its value and origin: aligned lines, or one JSON object per key. */
export function formatConfig(parsed: ParsedConfig, form: "text" | "json"): string {
  const rows = configKeyNames.map((key) => ({
    key,
    value: shownValue(key, valueAt(parsed, key)),
    origin: parsed.origins[key],
  }));
  if (form === "json") {
    const entries = rows.map(({ key, value, origin }) => [key, { value, origin }] as const);
    return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
  }
  const keyWidth = Math.max(...rows.map((row) => row.key.length));
  const texts = rows.map((row) => (row.value === "" ? '""' : String(row.value)));
  const valueWidth = Math.min(40, Math.max(...texts.map((value) => value.length)));
  const lines = rows.map((row, i) => {
    const value = (texts[i] ?? "").padEnd(valueWidth);
    return `${row.key.padEnd(keyWidth)}  ${value}  ${row.origin}`;
  });
  return `${lines.join("\n")}\n`;
}

/** Every key with its environment name, default and meaning: the help of `serve`. */
export function describeKeys(): string {
  const blocks = configKeyNames.map((key) => {
    const row = rowOf(key);
    const names = [envName(key), ...row.aliases].join(", ");
    const standard = row.kind.show(row.standard) || "none";
    const flag = row.isSecret ? `${key} (no flag: it is a secret)` : `--${key}`;
    return `  ${flag}\n      ${row.doc}\n      ${row.kind.rule}; default ${standard}; ${names}\n`;
  });
  return blocks.join("");
}

/** Numbers and booleans stay what they are; everything else is the text one would write. */
function shownValue(key: ConfigKey, value: unknown): string | number | boolean {
  const row = rowOf(key);
  const shown = row.kind.show(value);
  if (row.isSecret) return shown === "" ? "" : mask;
  return typeof value === "number" || typeof value === "boolean" ? value : shown;
}

function valueAt(parsed: ParsedConfig, key: ConfigKey): unknown {
  let at: unknown = parsed.config;
  for (const part of key.split(".")) at = (at as Readonly<Record<string, unknown>>)[part];
  return at;
}
