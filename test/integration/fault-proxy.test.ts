/** The proxy that process tests break their connections with. */
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { directions, FaultProxy } from "./fault-proxy.ts";

/** One end of a connection, and what came to it. */
class End {
  readonly socket: Socket;
  readonly pieces: { readonly bytes: Buffer; readonly atMs: number }[] = [];
  isEnded = false;
  error = "";

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes) => this.pieces.push({ bytes, atMs: performance.now() }));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? "";
    });
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.isEnded = true;
      });
    }
  }

  get text(): string {
    return Buffer.concat(this.pieces.map(({ bytes }) => bytes)).toString("latin1");
  }

  /** Ms at which the last byte came. */
  get lastMs(): number {
    return this.pieces.at(-1)?.atMs ?? 0;
  }
}

let server: Server;
let proxy: FaultProxy;
let accepted: End[];
const dialled: End[] = [];

beforeEach(async () => {
  accepted = [];
  server = createServer({ noDelay: true }, (socket) => accepted.push(new End(socket)));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  proxy = new FaultProxy({ host: "127.0.0.1", port });
  await proxy.start();
});

afterEach(async () => {
  for (const end of [...dialled.splice(0), ...accepted]) end.socket.destroy();
  await proxy.close();
  await new Promise((resolve) => {
    server.close(resolve);
  });
});

async function settle(until: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!until()) {
    if (performance.now() > endMs) throw new Error(`not so: ${until.toString()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** A connection through the proxy: the dialler's end and the target's. */
async function open(): Promise<readonly [End, End]> {
  const count = accepted.length;
  const end = new End(connect({ port: proxy.port, host: "127.0.0.1", noDelay: true }));
  dialled.push(end);
  await settle(() => accepted.length > count);
  return [end, accepted[count] as End];
}

test("passes bytes and ends both ways", async () => {
  const [dialler, target] = await open();
  dialler.socket.write("there");
  target.socket.write("and back");
  await settle(() => target.text === "there" && dialler.text === "and back");
  assert.equal(proxy.passed("target"), 5);
  assert.equal(proxy.passed("dialler"), 8);
  assert.equal(proxy.connections, 1);
  dialler.socket.end("last");
  await settle(() => target.isEnded && dialler.isEnded);
  assert.equal(target.text, "therelast");
  assert.equal(target.error, "");
  await settle(() => proxy.connections === 0);
});

test("delays each byte, in one direction, and keeps the order under jitter", async () => {
  const [dialler, target] = await open();
  proxy.setLine({ delayMs: 60, jitterMs: 40 }, "target");
  const fromMs = performance.now();
  for (let i = 0; i < 50; i++) dialler.socket.write(`${i} `);
  target.socket.write("back");
  await settle(() => dialler.text === "back");
  assert.equal(target.text, "", "the other direction is not slowed");
  const all = Array.from({ length: 50 }, (_, i) => `${i} `).join("");
  await settle(() => target.text === all);
  assert.ok((target.pieces[0]?.atMs ?? 0) - fromMs >= 59);
});

test("a lost piece is sent again later, and what follows waits behind it", async () => {
  // The first is for the jitter of the first packet; then it is lost twice.
  const chances = [0, 0.1, 0.1, 0.9];
  await proxy.close();
  proxy = new FaultProxy(proxy.target, () => chances.shift() ?? 0.9);
  await proxy.start();
  const [dialler, target] = await open();
  proxy.setLine({ delayMs: 60, loss: 0.5 }, "target");
  const fromMs = performance.now();
  dialler.socket.write("lost ");
  await settle(() => chances.length < 4);
  dialler.socket.write("behind it");
  await settle(() => target.text === "lost behind it");
  // 60 ms, and twice a round trip and a quarter.
  assert.ok((target.pieces[0]?.atMs ?? 0) - fromMs >= 359);
});

test("on a line that loses packets few are under way, and what waits shares them", async () => {
  const [dialler, target] = await open();
  proxy.setLine({ delayMs: 50, loss: 1e-9 }, "target");
  const all = Array.from({ length: 20 }, (_, i) => `${i} `);
  for (const text of all) {
    dialler.socket.write(text);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await settle(() => target.text === all.join(""));
  const firstMs = target.pieces[0]?.atMs ?? 0;
  assert.ok(target.lastMs - firstMs >= 90, "the rest waits for an acknowledgement");
});

test("throttles to the bits per second it is told", async () => {
  const [dialler, target] = await open();
  proxy.setLine({ bitsPerSecond: 8_000_000 }, "target");
  const fromMs = performance.now();
  dialler.socket.write(Buffer.alloc(300_000, 120));
  await settle(() => target.text.length === 300_000);
  const tookMs = target.lastMs - fromMs;
  assert.ok(tookMs >= 295 && tookMs < 5_000, `300 kB at a MB/s took ${tookMs} ms`);
});

test("in silence nothing passes, ends of connections included, until it is over", async () => {
  const [dialler, target] = await open();
  proxy.silence("target");
  dialler.socket.end("held back");
  target.socket.write("the other way");
  await settle(() => dialler.text === "the other way");
  assert.equal(target.text, "");
  assert.equal(target.isEnded, false);
  proxy.heal();
  await settle(() => target.isEnded);
  assert.equal(target.text, "held back");
});

test("a reset in silence is seen when it is over", async () => {
  const [dialler, target] = await open();
  proxy.silence(...directions);
  dialler.socket.resetAndDestroy();
  target.socket.write("nobody hears");
  await settle(() => dialler.isEnded);
  assert.equal(target.isEnded, false);
  proxy.heal();
  await settle(() => target.isEnded);
});

test("connections that begin in silence stand, and say nothing", async () => {
  proxy.silence(...directions);
  const [dialler, target] = await open();
  dialler.socket.write("hello");
  target.socket.write("welcome");
  await settle(() => dialler.socket.bytesWritten === 5 && target.socket.bytesWritten === 7);
  assert.equal(target.text + dialler.text, "");
  proxy.heal();
  await settle(() => target.text === "hello" && dialler.text === "welcome");
});

test("flips one bit of the byte it is told", async () => {
  const [dialler, target] = await open();
  proxy.corrupt("target", 3);
  dialler.socket.write("aaaaaa");
  await settle(() => target.text.length === 6);
  assert.equal(target.text, "aaaqaa");
  dialler.socket.write("bbb");
  await settle(() => target.text === "aaaqaabbb");
});

test("resets a connection in the middle of what it carries", async () => {
  const [dialler, target] = await open();
  proxy.resetAfter("target", 4);
  dialler.socket.write("only four");
  await settle(() => target.isEnded && dialler.isEnded);
  assert.equal(target.text, "only");
  assert.equal(dialler.error, "ECONNRESET");
  const [again, other] = await open();
  again.socket.write("the next one is whole");
  await settle(() => other.text === "the next one is whole");
});

test("resets all connections, and takes no new ones while it is closed", async () => {
  const [dialler, target] = await open();
  proxy.isClosedToAll = true;
  proxy.reset();
  await settle(() => dialler.error === "ECONNRESET" && target.error === "ECONNRESET");
  const refused = new End(connect({ port: proxy.port, host: "127.0.0.1" }));
  dialled.push(refused);
  await settle(() => refused.isEnded);
  assert.equal(accepted.length, 1);
  proxy.heal();
  await open();
});

test("leads new connections to another target, and old ones where they were", async () => {
  const [dialler, target] = await open();
  const second = createServer((socket) => socket.end("the other"));
  await new Promise<void>((resolve) => {
    second.listen(0, "127.0.0.1", resolve);
  });
  proxy.target = { host: "127.0.0.1", port: (second.address() as AddressInfo).port };
  const moved = new End(connect({ port: proxy.port, host: "127.0.0.1" }));
  dialled.push(moved);
  await settle(() => moved.text === "the other");
  dialler.socket.write("still");
  await settle(() => target.text === "still");
  second.close();
});
