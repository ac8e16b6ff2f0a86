/**
 * Keeps one dialled connection to a peer: dials, and dials again after a while that doubles.
 *
 *   idle ── dial ──► dialling ── welcome ──► open
 *    ▲ stop            │  ▲                   │
 *    │        failed   ▼  │ time is up        │
 *    └───────────── waiting ◄──── closed ─────┘
 */
import type { Random, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { CloseCause, Connection, ConnectionEvents, Opened } from "./connection.ts";

export interface DiallerDeps {
  readonly timers: Timers;
  readonly random: Random;
  /** Monotonic ms. */
  nowMs(): number;
  connect(events: ConnectionEvents): Connection;
  opened(connection: Connection, opened: Opened): void;
  /** The connection, or the try, has failed; it is dialled again unless `stop` is called here. */
  closed(wasOpen: boolean, cause: CloseCause): void;
}

export type DialState =
  | { readonly kind: "idle" }
  | { readonly kind: "waiting"; readonly timer: TimerHandle }
  | { readonly kind: "dialling"; readonly connection: Connection }
  | { readonly kind: "open"; readonly connection: Connection; readonly sinceMs: number };

export class Dialler {
  private state: DialState = { kind: "idle" };
  private readonly deps: DiallerDeps;
  /** Failures in a row; the wait doubles with each. */
  private failures = 0;

  constructor(deps: DiallerDeps) {
    this.deps = deps;
  }

  /** The connection, once frames can be sent on it. */
  get open(): Connection | null {
    return this.state.kind === "open" ? this.state.connection : null;
  }

  /** Dials, if nothing is under way. */
  start(): void {
    if (this.state.kind === "idle") this.dial();
  }

  /** Dials now instead of later: the peer is known to be there. */
  hurry(): void {
    if (this.state.kind !== "waiting") return;
    this.failures = 0;
    this.setState({ kind: "idle" });
    this.dial();
  }

  /** Ends what is under way. */
  stop(): void {
    this.setState({ kind: "idle" });
  }

  /** Begins again after a wait, if it does not wait already. */
  restart(): void {
    if (this.state.kind === "waiting") return;
    this.stop();
    this.wait();
  }

  private setState(next: DialState): void {
    const before = this.state;
    this.state = next;
    if (before.kind === "waiting") before.timer.cancel();
    if (before.kind === "dialling" || before.kind === "open") {
      const goesOn = next.kind === "open" && next.connection === before.connection;
      if (!goesOn) before.connection.close();
      if (before.kind === "open") this.countLife(before.sinceMs);
    }
  }

  /** A connection that does not last is a failure: else two nodes could cut and dial in a ring. */
  private countLife(sinceMs: number): void {
    const livedMs = this.deps.nowMs() - sinceMs;
    if (livedMs >= limits.redialSteadyMs) this.failures = 0;
  }

  private dial(): void {
    const connection = this.deps.connect({
      opened: (own, opened) => {
        this.setState({ kind: "open", connection: own, sinceMs: this.deps.nowMs() });
        this.deps.opened(own, opened);
      },
      // nothing but answers to pings comes this way
      frame: () => undefined,
      closed: (_own, cause) => this.failed(cause),
    });
    this.setState({ kind: "dialling", connection });
  }

  private failed(cause: CloseCause): void {
    const wasOpen = this.state.kind === "open";
    this.setState({ kind: "idle" });
    this.wait();
    this.deps.closed(wasOpen, cause);
  }

  private wait(): void {
    const full = Math.min(limits.redialMsMax, limits.redialMs * 2 ** this.failures);
    if (full < limits.redialMsMax) this.failures++;
    // Half of it by chance: nodes that lost each other at once do not meet again in step.
    const delayMs = full * (0.5 + this.deps.random.unit() / 2);
    const timer = this.deps.timers.after(delayMs, () => {
      this.setState({ kind: "idle" });
      this.dial();
    });
    this.setState({ kind: "waiting", timer });
  }
}
