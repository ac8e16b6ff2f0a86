/**
 * What commands print. For programs: one JSON document on standard output (commands that run on
 * print one per line), errors too. For people: tables and lines.
 */
import Table from "cli-table3";
import { QuorumQError } from "../client/errors.ts";
import { CliError, cliExitCodes, exitCodeOfCode } from "./exit-codes.ts";
import { printable, type Terminal } from "./terminal.ts";

export class Output {
  readonly isJson: boolean;
  private readonly terminal: Terminal;
  /** A JSON list is begun and not ended. */
  private hasList = false;

  constructor(terminal: Terminal, isJson: boolean) {
    this.terminal = terminal;
    this.isJson = isJson;
  }

  /** The command's answer: `value` for programs, `lines` for people. */
  answer(value: unknown, lines: () => readonly string[]): void {
    if (this.isJson) this.terminal.out(toJson(value));
    else for (const line of lines()) this.terminal.out(line);
  }

  /** One of the values that a command prints which runs on. */
  line(value: unknown): void {
    this.terminal.out(toJson(value));
  }

  /** A long list as one JSON document, item by item; `failure` ends it as well. */
  listItem(name: string, value: unknown): void {
    this.terminal.stdout.write(`${this.hasList ? ",\n" : `{${toJson(name)}:[\n`}${toJson(value)}`);
    this.hasList = true;
  }

  /** @param name - of the list, in case it had no item */
  endList(name: string): void {
    this.terminal.out(this.hasList ? "\n]}" : `{${toJson(name)}:[]}`);
    this.hasList = false;
  }

  /** Rows below a head, columns aligned; what a cell says is made safe for a terminal. */
  table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
    const table = new Table({
      head: head.map((text) => this.terminal.style("bold", text)),
      chars: noBorders,
      style: { "padding-left": 0, "padding-right": 2, head: [], border: [], compact: true },
      colAligns: head.map((_, i) =>
        rows.some((row) => typeof row[i] === "number") ? "right" : "left",
      ),
    });
    for (const row of rows) table.push(row.map((cell) => printable(String(cell))));
    return table
      .toString()
      .split("\n")
      .map((line) => line.trimEnd())
      .join("\n");
  }

  /** Names and values, one a line. */
  fields(pairs: readonly (readonly [string, Cell | undefined])[]): readonly string[] {
    const given = pairs.filter(([, value]) => value !== undefined && value !== "");
    const width = Math.max(0, ...given.map(([name]) => name.length));
    return given.map(
      ([name, value]) =>
        `${this.terminal.style("dim", name.padEnd(width))}  ${printable(String(value))}`,
    );
  }

  /** Tells of the failure in the form that was asked for. @returns the exit code */
  failure(error: unknown): number {
    const { code, text, exitCode } = describe(error);
    if (this.hasList) this.terminal.out(`\n],"error":${toJson(text)},"code":${toJson(code)}}`);
    else if (this.isJson) this.terminal.out(toJson({ error: text, code }));
    else this.terminal.note(`quorumq: ${printable(text)}${code === "usage" ? "" : ` (${code})`}`);
    return exitCode;
  }
}

export type Cell = string | number;

const noBorders = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "",
};

/** Bytes become base64, and what JSON cannot say is left out. */
function toJson(value: unknown): string {
  return JSON.stringify(value) ?? "null";
}

function describe(error: unknown): { code: string; text: string; exitCode: number } {
  if (error instanceof CliError) {
    return { code: error.code, text: error.message, exitCode: error.exitCode };
  }
  if (error instanceof QuorumQError) {
    return { code: error.code, text: error.message, exitCode: exitCodeOfCode(error.code) };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "internal", text, exitCode: cliExitCodes.software };
}
