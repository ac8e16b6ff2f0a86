/**
 * `quorumq top`: queues, rates, latencies and nodes, again and again. A live view on a terminal, one
 * JSON value a line with --json, plain blocks elsewhere.
 */
import { createLogUpdate } from "log-update";
import { parseCount, parseSeconds } from "../connection.ts";
import { cliExitCodes } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { Observer, type View } from "./top-observer.ts";
import { viewLines } from "./top-view.ts";

export interface TopFlags {
  readonly interval?: string;
  readonly count?: string;
  readonly rows?: string;
}

/** Keys that end the live view: in raw mode Ctrl-C is one of them. */
const endKeys = new Set(["q", "Q", "\u0003", "\u0004"]);

/** @returns the exit code */
export async function runTop(session: Session, flags: TopFlags): Promise<number> {
  const range = { least: 0.2, most: 60 };
  const intervalMs = parseSeconds("--interval", flags.interval ?? "1", range) * 1000;
  const rows = parseCount("--rows", flags.rows ?? "20", { least: 1, most: 1000 });
  const countMax =
    flags.count === undefined
      ? Number.POSITIVE_INFINITY
      : parseCount("--count", flags.count, { least: 1, most: 1e9 });
  const observer = new Observer(session);
  const end = new AbortController();
  const screen = openScreen(session, () => end.abort());
  let exitCode: number = cliExitCodes.ok;
  session.terminal.onSignal((signal) => {
    if (signal === "SIGINT" && !screen.isLive) exitCode = cliExitCodes.interrupted;
    end.abort();
  });
  try {
    await observer.look();
    for (let count = 0; count < countMax && !end.signal.aborted; count++) {
      await session.sleep(intervalMs, end.signal);
      if (end.signal.aborted) break;
      screen.show(await observer.look(), rows);
    }
  } finally {
    screen.close();
  }
  return exitCode;
}

interface Screen {
  readonly isLive: boolean;
  show(view: View, rows: number): void;
  close(): void;
}

function openScreen(session: Session, onEnd: () => void): Screen {
  const { output, terminal } = session;
  if (output.isJson) {
    return { isLive: false, show: (view) => output.line(view), close: () => undefined };
  }
  // a terminal without a size has no lines to write over
  if (terminal.stdout.isTTY !== true || !(terminal.stdout.rows > 0)) {
    return {
      isLive: false,
      show: (view, rows) => terminal.out(`${viewLines(session, view, rows).join("\n")}\n`),
      close: () => undefined,
    };
  }
  const update = createLogUpdate(terminal.stdout);
  const { stdin } = terminal;
  if (stdin.isTTY === true) {
    stdin.setRawMode(true);
    stdin.setEncoding("utf8");
    stdin.on("data", (key) => {
      if (endKeys.has(String(key))) onEnd();
    });
  }
  return {
    isLive: true,
    show(view, rows) {
      const space = Math.max(3, terminal.stdout.rows - 12 - view.nodes.length);
      update(viewLines(session, view, Math.min(rows, space)).join("\n"));
    },
    close() {
      update.done();
      if (stdin.isTTY === true) {
        stdin.setRawMode(false);
        stdin.pause();
      }
    },
  };
}
