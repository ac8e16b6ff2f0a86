/**
 * The log: one line per event, JSON by default. The one door of pino.
 *
 * Texts may come from clients. Control characters and those that turn the writing direction are
 * escaped before anything is written, so nobody can forge a line or steer a terminal.
 */
import { pino } from "pino";
import type { LogFields, Logger } from "../base/effects.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "json" | "text";

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes whole lines, each with its line end. Default: standard output, unbuffered. */
  readonly write?: (line: string) => void;
}

export function createLogger(options: LoggerOptions): Logger {
  const write = options.write ?? ((line: string) => process.stdout.write(line));
  const sink = options.format === "json" ? write : (line: string) => write(textLine(line));
  const root = pino(
    {
      level: options.level,
      base: null,
      messageKey: "text",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: sink },
  );
  return new PinoLogger(root);
}

class PinoLogger implements Logger {
  private readonly inner: pino.Logger;

  constructor(inner: pino.Logger) {
    this.inner = inner;
  }

  debug(text: string, fields?: LogFields): void {
    // Most debug lines are never written: do not clean their texts for nothing.
    if (this.inner.isLevelEnabled("debug")) this.inner.debug(clean(fields), cleanText(text));
  }

  info(text: string, fields?: LogFields): void {
    this.inner.info(clean(fields), cleanText(text));
  }

  warn(text: string, fields?: LogFields): void {
    this.inner.warn(clean(fields), cleanText(text));
  }

  error(text: string, fields?: LogFields): void {
    this.inner.error(clean(fields), cleanText(text));
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.inner.child(clean(fields)));
  }
}

/** C0 and C1 controls, line and paragraph separators, marks and overrides of direction. */
const unsafe = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function cleanText(text: string): string {
  return text.replace(unsafe, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function clean(fields: LogFields | undefined): LogFields {
  if (fields === undefined) return {};
  const cleaned: Record<string, string | number | boolean | undefined> = {};
  for (const [name, value] of Object.entries(fields)) {
    cleaned[name] = typeof value === "string" ? cleanText(value) : value;
  }
  return cleaned;
}

/** `<time> <LEVEL> <text> name=value …`, for people. */
function textLine(json: string): string {
  const { time, level, text, ...fields } = JSON.parse(json) as Record<string, unknown>;
  let line = `${String(time)} ${String(level).toUpperCase().padEnd(5)} ${String(text)}`;
  for (const [name, value] of Object.entries(fields)) {
    const plain = typeof value !== "string" || /^[^\s"=]+$/u.test(value);
    line += ` ${name}=${plain ? String(value) : JSON.stringify(value)}`;
  }
  return `${line}\n`;
}
