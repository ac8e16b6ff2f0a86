/**
 * Tells a node that hangs: what it sends over one connection comes to a stop, although it is pinged.
 * A client whose own event loop stood has read nothing either, and must not blame the node: timers
 * come before what waits to be read, so a look that is late decides nothing and leaves it to the next
 * one. grpc-js decides by a timer of its own, which cannot tell the two apart.
 */
import type { TimerHandle } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { ClientEffects } from "./system.ts";

export interface WatchedConnection {
  /** Bytes received so far. */
  readonly bytesRead: number;
  destroy(): void;
  once(event: "close", listener: () => void): unknown;
}

const { clientLookMs: lookMs } = limits;
const silenceMs = limits.clientPingMs + limits.clientPingAnswerMs;

/** Cuts the connection when nothing has come for so long that a ping and its answer had their time. */
export function watchConnection(
  connection: WatchedConnection,
  { clock, timers }: Pick<ClientEffects, "clock" | "timers">,
): void {
  let heardMs = clock.monotonicMs();
  let bytes = connection.bytesRead;
  let isSpared = false;
  let timer: TimerHandle;

  function arm(): void {
    const dueMs = clock.monotonicMs() + lookMs;
    timer = timers.after(lookMs, () => look(dueMs));
    timer.unref?.();
  }

  function look(dueMs: number): void {
    const nowMs = clock.monotonicMs();
    if (connection.bytesRead !== bytes) {
      bytes = connection.bytesRead;
      heardMs = nowMs;
      isSpared = false;
    } else if (nowMs - heardMs >= silenceMs) {
      if (isSpared || nowMs - dueMs < lookMs) {
        connection.destroy();
        return;
      }
      isSpared = true;
    }
    arm();
  }

  arm();
  connection.once("close", () => timer.cancel());
}
