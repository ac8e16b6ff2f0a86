/** What a receiver of a snapshot does with a stream that is not as it should be. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import { ByteWriter, DecodeError } from "../../../src/base/bytes.ts";
import { limits } from "../../../src/base/limits.ts";
import { shardFrames } from "../../../src/shard/replica-frames.ts";
import {
  decodeAnswer,
  decodeChunk,
  decodeOffer,
  encodeChunk,
  encodeOffer,
  type SnapshotAnswer,
} from "../../../src/shard/snapshot-frames.ts";
import { SnapshotReceiver } from "../../../src/shard/snapshot-receiver.ts";
import type { StoreFile, StoreInstall } from "../../../src/storage/store-copy.ts";
import { ManualEffects } from "../client/manual-effects.ts";
import { quietLogger } from "../transport/tcp-world.ts";

const leader = toStoreId(1);
const other = toStoreId(2);
const files: readonly StoreFile[] = [
  { name: "000005.ldb", bytes: 6 },
  { name: "000006.ldb", bytes: 0 },
  { name: "CURRENT", bytes: 4 },
];
const offer = { transfer: 9, point: { index: 40, term: 3 }, files } as const;
const last = { transfer: 9, file: 2, at: 0, bytes: Buffer.from("done") } as const;

/** An install that keeps what was written. */
class Install implements StoreInstall {
  readonly written = new Map<string, string>();
  isFinished = false;
  isDiscarded = false;

  write(file: StoreFile, bytes: Buffer): Promise<void> {
    this.written.set(file.name, (this.written.get(file.name) ?? "") + bytes.toString());
    return Promise.resolve();
  }

  finish(): Promise<void> {
    this.isFinished = true;
    return Promise.resolve();
  }

  discard(): void {
    this.isDiscarded = true;
  }
}

let effects: ManualEffects;
let answers: SnapshotAnswer[];
let installs: Install[];
let handedOver: number;
let problem: Error | null;
let check: Promise<void>;
let checking: AbortSignal | null;
let refusal: string;
let receiver: SnapshotReceiver;

beforeEach(() => {
  effects = new ManualEffects();
  answers = [];
  installs = [];
  handedOver = 0;
  problem = null;
  check = Promise.resolve();
  checking = null;
  refusal = "";
  receiver = new SnapshotReceiver({
    link: {
      send: () => true,
      sendBulk(_to, type, parts) {
        assert.equal(type, shardFrames.snapshotAnswer);
        answers.push(decodeAnswer(Buffer.concat(parts)));
        return true;
      },
      whenBulkBelow: () => undefined,
    },
    copier: {
      copy: () => assert.fail("nothing is copied here"),
      install() {
        const install = new Install();
        installs.push(install);
        return install;
      },
    },
    timers: effects.timers,
    logger: quietLogger,
    nextPath: () => "/next",
    refusal: () => refusal,
    hasEntry: () => false,
    prepare: (_path, _point, signal) => {
      checking = signal;
      return problem === null ? check : Promise.reject(problem);
    },
    handOver: () => {
      handedOver++;
    },
  });
});

function send(file: number, at: number, text: string, from = leader, transfer = 9): void {
  const body = Buffer.concat(encodeChunk({ transfer, file, at, bytes: Buffer.from(text) }));
  receiver.chunk(from, decodeChunk(body));
}

/** Until all writes and what follows from them are over. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Sends all; what came is being checked until what this gives is called. */
async function sendIntoOpenCheck(): Promise<() => void> {
  let checked: () => void = () => assert.fail("it is being checked");
  check = new Promise((resolve) => {
    checked = resolve;
  });
  send(0, 0, "abcdef");
  receiver.chunk(leader, last);
  await settled();
  return checked;
}

async function isRefused(reason: RegExp): Promise<void> {
  await settled();
  const answer = answers.at(-1);
  assert.equal(answer?.kind, "refused");
  assert.match(answer.reason, reason);
  assert.equal(installs.at(-1)?.isDiscarded, true);
  assert.equal(handedOver, 0);
  assert.equal(effects.pending, 0, "no timer is left");
  // the leader may begin again
  const before = installs.length;
  problem = null;
  receiver.offered(leader, { ...offer, transfer: 10 });
  send(0, 0, "abcdef", leader, 10);
  send(2, 0, "done", leader, 10);
  await settled();
  assert.equal(installs.length, before + 1);
  assert.equal(handedOver, 1);
  assert.equal(answers.at(-1)?.kind, "done");
}

test("takes a snapshot whose chunks come in order, and hands it over once", async () => {
  receiver.offered(leader, decodeOffer(encodeOffer(offer)));
  send(0, 0, "abc");
  send(0, 3, "def");
  receiver.chunk(leader, last);
  await settled();
  const [install] = installs;
  assert.equal(install?.written.get("000005.ldb"), "abcdef");
  assert.equal(install?.written.get("CURRENT"), "done");
  assert.equal(install?.isFinished, true);
  assert.equal(install?.isDiscarded, false);
  assert.equal(handedOver, 1);
  assert.deepEqual(
    answers.map(({ kind, chunks }) => `${kind} ${chunks}`),
    ["going 0", "going 1", "going 2", "done 3"],
  );
});

const broken: readonly (readonly [string, () => void])[] = [
  ["a gap", () => send(0, 4, "ef")],
  ["a repeat", () => send(0, 0, "abc")],
  ["more bytes than the file has", () => send(0, 3, "defg")],
  ["a file left out", () => send(2, 0, "done")],
  ["a file that does not exist", () => send(7, 0, "x")],
  ["nothing at all", () => send(0, 3, "")],
];

for (const [what, go] of broken) {
  test(`5.3-09 ${what} ends the transfer; the leader begins anew`, async () => {
    receiver.offered(leader, offer);
    send(0, 0, "abc");
    go();
    await isRefused(/out of its place/);
  });
}

test("5.3-09 bytes after the last file end it too, though it is being checked", async () => {
  receiver.offered(leader, offer);
  send(0, 0, "abcdef");
  receiver.chunk(leader, last);
  receiver.chunk(leader, last);
  await isRefused(/out of its place/);
});

test("5.3-09 chunks of another transfer, or another node, are not looked at", async () => {
  send(0, 0, "abc");
  receiver.offered(leader, offer);
  send(0, 0, "xyz", leader, 8);
  send(0, 0, "xyz", other);
  send(0, 0, "abcdef");
  receiver.chunk(leader, last);
  await settled();
  assert.equal(installs[0]?.written.get("000005.ldb"), "abcdef");
  assert.equal(handedOver, 1);
});

test("5.3-09 a snapshot that does not pass its checks is discarded", async () => {
  receiver.offered(leader, offer);
  problem = new Error("a record with a wrong checksum");
  send(0, 0, "abcdef");
  receiver.chunk(leader, last);
  await isRefused(/wrong checksum/);
});

test("5.3-09 a transfer in which nothing moves is given up, its bytes removed", async () => {
  receiver.offered(leader, offer);
  send(0, 0, "abc");
  effects.advance(limits.snapshotSilenceMs);
  await isRefused(/silent/);
});

test("5.3-09 a snapshot that has no room is refused before a byte is written", () => {
  refusal = "no room on the disk";
  receiver.offered(leader, { ...offer, files: [{ name: "000005.ldb", bytes: 2 ** 50 }] });
  assert.deepEqual(
    answers.map(({ kind, reason }) => `${kind} ${reason}`),
    ["refused no room on the disk"],
  );
  assert.equal(installs.length, 0);
});

test("5.3-09 a new offer ends the transfer before it: one is kept on disk", async () => {
  receiver.offered(leader, offer);
  send(0, 0, "abc");
  receiver.offered(leader, { ...offer, transfer: 11 });
  await settled();
  assert.deepEqual(
    installs.map((install) => install.isDiscarded),
    [true, false],
  );
});

test("a new offer waits until the one before it is off the disk, where both have their place", async () => {
  receiver.offered(leader, offer);
  // being checked, and given up meanwhile
  const checked = await sendIntoOpenCheck();
  receiver.offered(leader, { ...offer, transfer: 11 });
  await settled();
  assert.equal(installs.length, 1);
  checked();
  await settled();
  assert.deepEqual(
    installs.map((install) => install.isDiscarded),
    [true, false],
  );
  assert.equal(answers.at(-1)?.transfer, 11);
});

test("the check of what is given up ends early, so that the next offer does not wait for all of it", async () => {
  receiver.offered(leader, offer);
  check = new Promise((_resolve, reject) => {
    const look = (): void => {
      if (checking?.aborted) reject(new Error("given up"));
      else setImmediate(look);
    };
    setImmediate(look);
  });
  send(0, 0, "abcdef");
  receiver.chunk(leader, last);
  await settled();
  assert.equal(checking?.aborted, false);
  receiver.offered(leader, { ...offer, transfer: 11 });
  await settled();
  await settled();
  assert.equal(answers.at(-1)?.transfer, 11);
  assert.equal(answers.at(-1)?.kind, "going");
});

test("whoever sent what is given up hears of it, so that it does not wait for an answer", async () => {
  const refusals = () =>
    answers
      .filter(({ kind }) => kind === "refused")
      .map(({ transfer, reason }) => [transfer, reason]);
  receiver.offered(leader, offer);
  receiver.offered(other, { ...offer, transfer: 11 });
  assert.deepEqual(refusals(), [[9, "another one begins"]]);
  send(0, 0, "abc", leader, 9);
  assert.deepEqual(refusals().at(-1), [9, "no such transfer"]);
  await settled();
  await receiver.stop();
  assert.deepEqual(refusals().at(-1), [11, "the replica stops"]);
});

test("a receiver has stopped only when what was under way is off the disk", async () => {
  receiver.offered(leader, offer);
  const checked = await sendIntoOpenCheck();
  let hasStopped = false;
  const stopped = receiver.stop().then(() => {
    hasStopped = true;
  });
  await settled();
  assert.equal(hasStopped, false);
  checked();
  await stopped;
  assert.equal(installs[0]?.isDiscarded, true);
  assert.equal(handedOver, 0);
});

test("5.3-09 an offer of files that are no store's, or of too many, is no offer", () => {
  const names = ["../000005.ldb", "/etc/passwd", "vote", "000005.ldb\0", "", "000006.sst/x"];
  for (const name of names) {
    const bytes = encodeOffer({ ...offer, files: [{ name, bytes: 1 }] });
    assert.throws(() => decodeOffer(bytes), DecodeError, JSON.stringify(name));
  }
  const twice = encodeOffer({ ...offer, files: [...files, ...files] });
  assert.throws(() => decodeOffer(twice), DecodeError);
  const many = new ByteWriter();
  for (const value of [9, 40, 3]) many.u64(value);
  many.varint(limits.snapshotFiles + 1);
  assert.throws(() => decodeOffer(many.finish()), DecodeError);
  const lies = new ByteWriter();
  for (const value of [9, 40, 3]) lies.u64(value);
  lies.varint(limits.snapshotFiles);
  assert.throws(() => decodeOffer(lies.finish()), DecodeError);
});
