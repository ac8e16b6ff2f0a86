/** A progress bar on standard error, for long work in front of people. */
import { SingleBar } from "cli-progress";
import type { Session } from "./session.ts";

export interface Progress {
  update(value: number, shown: { readonly tasks: number }): void;
  stop(): void;
}

const silent: Progress = { update: () => undefined, stop: () => undefined };

/**
 * @param what.total - 0 = unknown: what is done is counted, without a bar
 * @returns one that shows nothing where standard error is no terminal, or JSON was asked for
 */
export function createProgress(
  session: Session,
  what: { readonly label: string; readonly total: number },
): Progress {
  const { stderr } = session.terminal;
  if (stderr.isTTY !== true || session.output.isJson) return silent;
  const bar = what.total > 0 ? " {bar} {percentage}%" : "";
  const single = new SingleBar({
    stream: stderr,
    format: `${what.label}${bar} {tasks} tasks, {duration_formatted}`,
    hideCursor: true,
    clearOnComplete: true,
    synchronousUpdate: false,
  });
  single.start(what.total, 0, { tasks: 0 });
  return {
    update: (value, shown) => single.update(Math.min(value, what.total), shown),
    stop: () => single.stop(),
  };
}
