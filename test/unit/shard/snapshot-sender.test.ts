/** When a sender of a snapshot gives its transfer up, so that it can begin anew. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import { limits } from "../../../src/base/limits.ts";
import { shardFrames } from "../../../src/shard/replica-frames.ts";
import { decodeOffer, type SnapshotOffer } from "../../../src/shard/snapshot-frames.ts";
import { SnapshotSender } from "../../../src/shard/snapshot-sender.ts";
import { ManualEffects } from "../client/manual-effects.ts";
import { quietLogger } from "../transport/tcp-world.ts";

const member = toStoreId(2);

let effects: ManualEffects;
let offers: SnapshotOffer[];
let ended: boolean[];
let sender: SnapshotSender;

beforeEach(() => {
  effects = new ManualEffects();
  offers = [];
  ended = [];
  sender = new SnapshotSender({
    link: {
      send: () => true,
      sendBulk(_to, type, parts) {
        const body = Buffer.concat(parts);
        if (type === shardFrames.snapshotOffer) offers.push(decodeOffer(body));
        return true;
      },
      whenBulkBelow: () => undefined,
    },
    commit: { between: (action) => action() },
    copier: {
      copy: () => ({
        files: [{ name: "CURRENT", bytes: 4 }],
        read: () => Promise.resolve(Buffer.from("done")),
        close: () => undefined,
      }),
      install: () => assert.fail("nothing is received here"),
    },
    storePath: "/store",
    timers: effects.timers,
    random: effects.random,
    logger: quietLogger,
    savedPoint: () => ({ index: 40, term: 3 }),
    ended: (_to, ok) => ended.push(ok),
  });
});

test("an offer that nobody hears is given up soon: the member's replica may just have started", () => {
  sender.send(member);
  effects.advance(limits.snapshotOfferMs - 1);
  assert.deepEqual(ended, []);
  effects.advance(1);
  assert.deepEqual(ended, [false]);
  assert.ok(sender.send(member), "the next one may begin");
  assert.equal(offers.length, 2);
});

test("a transfer that was taken is given up only after a long silence", () => {
  sender.send(member);
  const transfer = offers[0]?.transfer ?? 0;
  sender.answered(member, { transfer, kind: "going", chunks: 0, reason: "" });
  effects.advance(limits.snapshotSilenceMs - 1);
  assert.deepEqual(ended, []);
  effects.advance(1);
  assert.deepEqual(ended, [false]);
});
