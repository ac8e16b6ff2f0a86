/** Questions between nodes: whose answer is taken. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toStoreId } from "../../../src/base/brand.ts";
import type { QueueError } from "../../../src/base/errors.ts";
import { callFrames, PeerCalls } from "../../../src/router/peer-calls.ts";
import type { Transport } from "../../../src/transport/transport.ts";
import { createSeededRandom } from "../../sim/seeded-random.ts";
import { ManualEffects } from "../client/manual-effects.ts";

const leader = toStoreId(1);
const call = { shard: 0, kind: 1 } as const;

interface Process {
  readonly calls: PeerCalls;
  readonly sent: Buffer[];
  readonly outcomes: string[];
  ask(): void;
}

function startProcess(seed: number): Process {
  const sent: Buffer[] = [];
  const outcomes: string[] = [];
  const send: Transport["send"] = (_to, _channel, _group, _type, parts) => {
    sent.push(Buffer.concat(parts));
    return true;
  };
  const { timers } = new ManualEffects();
  const transport = { send } as Transport;
  const calls = new PeerCalls({ transport, timers, random: createSeededRandom(seed) });
  const answer = {
    answered: (body: Buffer) => outcomes.push(body.toString()),
    failed: (error: QueueError) => outcomes.push(error.code),
  };
  return { calls, sent, outcomes, ask: () => calls.call(leader, call, [], answer) };
}

/** What the leader answers to a request. */
function answerTo(request: Buffer, text: string): Buffer {
  return Buffer.concat([request.subarray(0, 8), Buffer.of(0), Buffer.from(text)]);
}

test("an answer reaches the call that it belongs to", () => {
  const { calls, sent, outcomes, ask } = startProcess(1);
  ask();
  ask();
  calls.frame(leader, callFrames.answer, answerTo(sent[1] as Buffer, "second"));
  calls.frame(leader, callFrames.answer, answerTo(sent[0] as Buffer, "first"));
  assert.deepEqual(outcomes, ["second", "first"]);
});

test("an answer to an earlier process of this node is no answer to this one's calls", () => {
  const earlier = startProcess(1);
  const { calls, outcomes, ask } = startProcess(2);
  earlier.ask();
  ask();
  calls.frame(leader, callFrames.answer, answerTo(earlier.sent[0] as Buffer, "too late"));
  assert.deepEqual(outcomes, []);
});

test("nobody but who was asked can answer", () => {
  const { calls, sent, outcomes, ask } = startProcess(1);
  ask();
  calls.frame(toStoreId(2), callFrames.answer, answerTo(sent[0] as Buffer, "false"));
  assert.deepEqual(outcomes, []);
  calls.peerGone(leader);
  assert.deepEqual(outcomes, ["unknown_outcome"]);
});
