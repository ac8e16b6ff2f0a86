/** What every command works with: its terminal, its output, and the way to the server. */
import { QuorumQError } from "../client/errors.ts";
import { createHttpClient, type HttpClient } from "../client/http-client.ts";
import { type ClientEffects, createClientEffects } from "../client/system.ts";
import { type Connection, type ConnectionFlags, resolveConnection } from "./connection.ts";
import { Output } from "./output.ts";
import type { Terminal } from "./terminal.ts";

export interface GlobalFlags extends ConnectionFlags {
  readonly json?: boolean;
}

export class Session {
  readonly terminal: Terminal;
  readonly output: Output;
  readonly effects: ClientEffects = createClientEffects();
  private readonly flags: GlobalFlags;
  private resolved: Connection | null = null;

  constructor(terminal: Terminal, flags: GlobalFlags) {
    this.terminal = terminal;
    this.flags = flags;
    this.output = new Output(terminal, flags.json === true);
  }

  /** Addresses and token, read once. @throws CliError */
  async connection(): Promise<Connection> {
    this.resolved ??= await resolveConnection(this.terminal, this.flags);
    return this.resolved;
  }

  /** @throws CliError, QuorumQError invalid_argument: an address that is none */
  async http(): Promise<HttpClient> {
    const { http, token, timeoutMs } = await this.connection();
    return createHttpClient({ endpoints: http, token, timeoutMs, effects: this.effects });
  }

  /**
   * What the promise gives, if it comes within the server's time (`--timeout`).
   * @throws QuorumQError timeout
   */
  async withinTimeout<T>(promise: Promise<T>): Promise<T> {
    const { timeoutMs } = await this.connection();
    const over = new AbortController();
    const late = this.sleep(timeoutMs, over.signal).then((): never => {
      throw new QuorumQError("timeout", "no server answered in time");
    });
    // when it came in time nobody looks at the other any more
    late.catch(() => undefined);
    try {
      return await Promise.race([promise, late]);
    } finally {
      over.abort();
    }
  }

  /** Resolves after the time, or at once when the signal has fired or fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const end = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.effects.timers.after(ms, end);
      signal?.addEventListener("abort", end);
    });
  }
}
