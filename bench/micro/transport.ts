/**
 * Frames per second between two transports in one process, over TCP on the loopback interface.
 * Both ends share one thread: what it shows is the CPU that a frame costs both together.
 *
 *   npx tsx bench/micro/transport.ts [seconds per size]
 */

import { toStoreId } from "../../src/base/brand.ts";
import type { Logger } from "../../src/base/effects.ts";
import { createClock, createRandom, createTimers } from "../../src/platform/system.ts";
import { createTcpTransport } from "../../src/transport/tcp-transport.ts";
import type { NodeIdentity, Transport, TransportListener } from "../../src/transport/transport.ts";
import { freePort } from "../free-port.ts";

const sizes = [30, 200, 2_000, 20_000, 250_000];
/** Frames sent in one turn: what a leader of some shards sends. */
const framesPerTurn = 8;
/** Bytes on their way at the most. */
const windowBytes = 4 * 1024 * 1024;

const logger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: console.warn,
  error: console.error,
  child: () => logger,
};

class End implements TransportListener {
  readonly identity: NodeIdentity;
  readonly transport: Transport;
  isConnected = false;
  isEnding = false;
  frames = 0;
  bytes = 0;
  heard: (() => boolean) | null = null;
  private readonly changed: () => void;

  constructor(nodeId: string, port: number, changed: () => void) {
    this.changed = changed;
    const raft = `127.0.0.1:${port}`;
    const storeId = toStoreId(port);
    this.identity = { nodeId, storeId, raft, http: "", grpc: "", clusterId: "", version: "0" };
    const deps = { clock: createClock(), timers: createTimers(), random: createRandom(), logger };
    const listen = { host: "127.0.0.1", port };
    this.transport = createTcpTransport(deps, { identity: this.identity, listen, secret: "" });
  }

  frame(_from: number, _channel: string, _group: number, _type: number, body: Buffer): void {
    this.frames++;
    this.bytes += body.length;
    this.heard?.();
  }

  connected(): void {
    this.isConnected = true;
    this.changed();
  }

  disconnected(): void {
    if (!this.isEnding) throw new Error("the connection broke");
  }

  refused(address: string, reason: string): void {
    throw new Error(`${address}: ${reason}`);
  }
}

async function connectedPair(): Promise<readonly [End, End]> {
  return new Promise((resolve, reject) => {
    const open = async () => {
      const ports = [await freePort(), await freePort()] as const;
      const check = () => {
        if (a.isConnected && b.isConnected) resolve([a, b]);
      };
      const a = new End("a", ports[0], check);
      const b = new End("b", ports[1], check);
      a.transport.setPeers([b.identity]);
      b.transport.setPeers([a.identity]);
      await a.transport.start(a);
      await b.transport.start(b);
    };
    open().catch(reject);
  });
}

/** Sends as much as is received, in turns of a few frames. */
function run(a: End, b: End, size: number, seconds: number): Promise<string> {
  const body = Buffer.alloc(size, 7);
  const to = b.identity.storeId;
  const [firstFrames, firstBytes] = [b.frames, b.bytes];
  const fromMs = performance.now();
  const cpuBefore = process.cpuUsage();
  let sentBytes = 0;
  return new Promise((resolve) => {
    const turn = () => {
      const tookMs = performance.now() - fromMs;
      if (tookMs >= seconds * 1000) {
        const frames = b.frames - firstFrames;
        const { user, system } = process.cpuUsage(cpuBefore);
        const rate = ((frames * 1000) / tookMs).toFixed(0).padStart(9);
        const cpu = ((user + system) / frames).toFixed(2).padStart(8);
        const volume = (((b.bytes - firstBytes) * 0.001) / tookMs).toFixed(0).padStart(6);
        resolve(
          `${String(size).padStart(7)} B ${rate} frames/s ${volume} MB/s ${cpu} µs CPU/frame`,
        );
        return;
      }
      for (let i = 0; i < framesPerTurn; i++) {
        if (sentBytes - (b.bytes - firstBytes) > windowBytes) break;
        if (!a.transport.send(to, "append", i, 1, [body])) break;
        sentBytes += size;
      }
      setImmediate(turn);
    };
    turn();
  });
}

/** One frame there and one back, one after the other. */
function roundTrips(a: End, b: End, count: number): Promise<string> {
  const body = Buffer.alloc(100, 7);
  const fromMs = performance.now();
  return new Promise((resolve) => {
    let left = count;
    b.heard = () => b.transport.send(a.identity.storeId, "append", 0, 1, [body]);
    a.heard = () => {
      if (left-- > 0) return a.transport.send(b.identity.storeId, "append", 0, 1, [body]);
      b.heard = null;
      a.heard = null;
      const us = ((performance.now() - fromMs) * 1000) / count;
      resolve(`there and back: ${us.toFixed(0)} µs`);
      return true;
    };
    a.heard();
  });
}

async function main(): Promise<void> {
  const seconds = Number(process.argv[2] ?? 2);
  const [a, b] = await connectedPair();
  await roundTrips(a, b, 2_000);
  console.log(await roundTrips(a, b, 20_000));
  await run(a, b, 200, 1);
  for (const size of sizes) console.log(await run(a, b, size, seconds));
  for (const end of [a, b]) end.isEnding = true;
  await a.transport.close();
  await b.transport.close();
}

await main();
