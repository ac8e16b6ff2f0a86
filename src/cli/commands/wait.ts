/** Waits for a task's end, for `enqueue --wait` and `task result`. */
import type { ResultRecord } from "../../client/http-records.ts";
import { cliExitCodes } from "../exit-codes.ts";
import type { Session } from "../session.ts";
import { printable } from "../terminal.ts";

/** The longest that one request waits: a connection that is idle for longer may be cut. */
const pollSecondsMax = 30;

/**
 * Long polls, one after the other, until the task has ended or the time is up; prints the result.
 * @returns 0 completed, 1 failed, 75 not ended
 */
export async function waitForResult(
  session: Session,
  wait: { readonly id: string; readonly duplicate?: boolean; readonly waitSeconds: number },
): Promise<number> {
  const { output, effects } = session;
  const { id, duplicate } = wait;
  const http = await session.http();
  const endMs = effects.clock.monotonicMs() + wait.waitSeconds * 1000;
  for (;;) {
    const leftMs = Math.max(0, endMs - effects.clock.monotonicMs());
    const waitSeconds = Math.min(pollSecondsMax, Math.ceil(leftMs / 1000));
    const { task, result } = await http.getResult(id, { waitSeconds });
    if (result === null && leftMs > 0) continue;
    output.answer({ id, duplicate, task, result }, () =>
      result === null ? [`${id} is ${task.state}`] : [lineOf(result)],
    );
    if (result === null) return cliExitCodes.tempFail;
    return result.status === "COMPLETED" ? cliExitCodes.ok : cliExitCodes.failed;
  }
}

function lineOf({ status, result, error }: ResultRecord): string {
  if (status !== "COMPLETED") return `failed: ${printable(error ?? "")}`;
  return JSON.stringify(result ?? null);
}
