/** Bodies that come in pieces, and too many of them at once (FAULTS 5.1). */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limits, MiB } from "../../../src/base/limits.ts";
import { assertRefused, closeAll, type Harness, parseRaw, readAll, startHttp } from "./harness.ts";

let http: Harness;
const hasEnd = { timeout: 30_000 };
const head = "HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";

before(async () => {
  http = await startHttp();
});
after(async () => {
  assert.equal((await http.get("/livez")).status, 200);
  await closeAll();
});

/** A payload whose every place can be told from the others. */
function textOf(length: number): string {
  return Array.from({ length: Math.ceil(length / 8) }, (_, i) => String(i).padStart(8, "0"))
    .join("")
    .slice(0, length);
}

async function createInPieces(length: number, pieces: number, chunked: boolean): Promise<void> {
  const payload = textOf(length);
  const body = JSON.stringify({ command: "q", payload });
  const socket = await http.connect();
  const answer = readAll(socket);
  const size = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
  socket.write(`POST /v1/tasks ${head}Connection: close\r\n${size}\r\n\r\n`);
  const step = Math.ceil(body.length / pieces);
  for (let at = 0; at < body.length; at += step) {
    const piece = body.slice(at, at + step);
    socket.write(chunked ? `${piece.length.toString(16)}\r\n${piece}\r\n` : piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (chunked) socket.write("0\r\n\r\n");
  assert.equal(parseRaw(await answer).status, 202);
  const arrived = http.router.created.some((one) => one.payload === JSON.stringify(payload));
  assert.ok(arrived, `${length} characters in ${pieces} pieces`);
}

test("a body arrives as it was sent, in however many pieces", hasEnd, async () => {
  for (const chunked of [false, true]) {
    for (const length of [1, 100, 65_536 - 25, 65_536, 200_000, 900_000]) {
      for (const pieces of [1, 2, 7, 97]) await createInPieces(length, pieces, chunked);
    }
  }
});

test("two long bodies that come at once are not mixed", hasEnd, async () => {
  const before = http.router.created.length;
  const lengths = [300_000, 400_001, 500_002];
  await Promise.all(lengths.map((length) => createInPieces(length, 40, false)));
  assert.equal(http.router.created.length, before + lengths.length);
});

test(
  "5.1-08 bodies that never end: the longest are refused, short ones taken",
  hasEnd,
  async () => {
    const body = 8 * MiB;
    const sockets = await Promise.all(Array.from({ length: 8 }, () => http.connect()));
    const answers = sockets.map((socket) => {
      socket.write(`POST /v1/tasks/batch ${head}Content-Length: ${body}\r\n\r\n`);
      socket.write(Buffer.alloc(body - 1, 32));
      return readAll(socket).then(parseRaw);
    });
    const refused = 8 - Math.floor(limits.httpBodiesBytes / body);
    let count = 0;
    const enough = new Promise<void>((resolve) => {
      for (const answer of answers) {
        answer.then(() => {
          if (++count === refused) resolve();
        }, assert.fail);
      }
    });
    await enough;
    assert.equal((await http.post("/v1/tasks", { command: "q", payload: 1 })).status, 202);
    await createInPieces(500_000, 10, false);
    for (const socket of sockets) socket.destroy();
    const all = await Promise.all(answers);
    const told = all.filter(({ status }) => status !== 0);
    // The last create may have cost one more its place.
    assert.ok(told.length - refused <= 1, `${told.length} were refused`);
    for (const answer of told) assertRefused(answer, 503, "overloaded");
  },
);
