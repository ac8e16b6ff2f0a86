/**
 * The process as the commands see it: where they write, whether people read it, when they are to
 * end. The only place of cli/ that touches `process`, apart from the commands it runs for tasks.
 */
import { styleText } from "node:util";
import { cliExitCodes } from "./exit-codes.ts";

export type Style = "bold" | "dim" | "green" | "yellow" | "red" | "cyan";

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Writes a line to standard output. */
  out(line: string): void;
  /** Writes a line to standard error. */
  note(line: string): void;
  /** Colours text for standard output; as it is where nobody sees colours. */
  style(style: Style, text: string): string;
  /** Fires with the first SIGINT or SIGTERM, if the command asked by `onSignal`. */
  onSignal(callback: (signal: "SIGINT" | "SIGTERM") => void): void;
}

/**
 * Creates it for this process. A reader that has gone (`| head`) ends the process quietly.
 * @param hasColor - false = never, whatever standard output is
 */
export function createTerminal(hasColor: boolean): Terminal {
  const { stdout, stderr, stdin, env } = process;
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      process.exit(error.code === "EPIPE" ? cliExitCodes.ok : cliExitCodes.failed);
    });
  }
  const colored = hasColor && stdout.isTTY === true && (env["NO_COLOR"] ?? "") === "";
  let callbacks: ((signal: "SIGINT" | "SIGTERM") => void)[] = [];
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      const told = callbacks;
      callbacks = [];
      // nobody left to tell: a second signal, or a command that holds nothing
      if (told.length === 0) process.exit(signal === "SIGINT" ? cliExitCodes.interrupted : 143);
      for (const callback of told) callback(signal);
    });
  }
  return {
    env,
    stdin,
    stdout,
    stderr,
    out: (line) => void stdout.write(`${line}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    style: (style, text) => (colored ? styleText(style, text) : text),
    onSignal: (callback) => void callbacks.push(callback),
  };
}

/**
 * Text of a server or a task, safe on a terminal: control characters and directional overrides are
 * shown as escapes, so that nobody's payload moves the cursor.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (char) => {
    const code = char.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
