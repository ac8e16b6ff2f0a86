/** Debian's redis-server with an append-only file, on loopback, with a directory of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../free-port.ts";
import { Daemon } from "./daemon.ts";
import { outputOf } from "./peer.ts";

const program = "redis-server";

/** When the append-only file is synced. */
export type RedisSync = "everysec" | "always";

/** @throws PeerMissingError */
export function redisVersion(): string {
  const [, version] = /v=(\S+)/.exec(outputOf(program, ["--version"])) ?? [];
  return `redis-server ${version ?? "unknown"}`;
}

export class RedisServer {
  readonly port: number;
  private readonly daemon: Daemon;
  private readonly directory: string;

  private constructor(port: number, daemon: Daemon, directory: string) {
    this.port = port;
    this.daemon = daemon;
    this.directory = directory;
  }

  static async start(folder: string, sync: RedisSync): Promise<RedisServer> {
    const port = await freePort();
    const directory = mkdtempSync(join(folder, "redis-bench-"));
    const address = ["--bind", "127.0.0.1", "--port", String(port)];
    // no snapshots beside it; all else as it comes
    const file = ["--dir", directory, "--save", "", "--appendonly", "yes", "--appendfsync", sync];
    const daemon = new Daemon({ program, args: [...address, ...file] });
    const server = new RedisServer(port, daemon, directory);
    try {
      await daemon.listening(port);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get pid(): number {
    return this.daemon.pid;
  }

  async stop(): Promise<void> {
    await this.daemon.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
