import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import type {
  CloseCause,
  Connection,
  ConnectionEvents,
} from "../../../src/transport/connection.ts";
import { Dialler } from "../../../src/transport/dialler.ts";
import { Refusals } from "../../../src/transport/refusals.ts";
import { clusterIds } from "../../contract/transport-node.ts";
import { ManualEffects } from "../client/manual-effects.ts";
import { identityOf } from "./tcp-world.ts";

const opened = {
  peer: identityOf({ nodeId: "b", storeId: 2, clusterId: clusterIds.one }),
  channel: "control",
  clusterId: clusterIds.one,
} as const;

const lost: CloseCause = { kind: "lost", reset: true, text: "gone" };

/** A dialler whose connections only count. */
class Line {
  readonly effects = new ManualEffects();
  readonly dials: { readonly events: ConnectionEvents; readonly connection: Connection }[] = [];
  closed = 0;
  unit = 0;
  readonly dialler = new Dialler({
    timers: this.effects.timers,
    random: { fill: () => undefined, unit: () => this.unit },
    nowMs: () => this.effects.nowMs,
    connect: (events) => {
      const close = () => {
        this.closed++;
      };
      const connection = { close } as unknown as Connection;
      this.dials.push({ events, connection });
      return connection;
    },
    opened: () => undefined,
    closed: () => undefined,
  });

  fail(): void {
    const last = this.dials.at(-1);
    last?.events.closed(last.connection, lost);
  }

  open(): void {
    const last = this.dials.at(-1);
    last?.events.opened(last.connection, opened);
  }

  /** Ms from a failure to the next dial. */
  wait(): number {
    const { effects, dials } = this;
    const [before, fromMs] = [dials.length, effects.nowMs];
    while (dials.length === before && effects.nowMs < fromMs + 10_000) effects.advance(1);
    return effects.nowMs - fromMs;
  }
}

test("a peer is dialled again after a wait that doubles up to a second, half of it by chance", () => {
  for (const [unit, share] of [
    [0, 0.5],
    [0.999_999, 1],
  ] as const) {
    const line = new Line();
    line.unit = unit;
    line.dialler.start();
    const waits = Array.from({ length: 9 }, () => {
      line.fail();
      return line.wait();
    });
    const full = [20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
    assert.deepEqual(
      waits,
      full.map((ms) => ms * share),
    );
  }
});

test("a connection that lasted makes the next dial quick, one that did not does not", () => {
  const line = new Line();
  line.dialler.start();
  for (let i = 0; i < 4; i++) {
    line.fail();
    line.wait();
  }
  line.open();
  line.fail();
  assert.equal(line.wait(), 160);
  line.open();
  line.effects.advance(limits.redialSteadyMs);
  line.fail();
  assert.equal(line.wait(), 10);
});

test("a peer that shows itself is dialled at once", () => {
  const line = new Line();
  line.dialler.start();
  line.dialler.hurry();
  assert.equal(line.dials.length, 1);
  for (let i = 0; i < 8; i++) {
    line.fail();
    line.wait();
  }
  line.fail();
  line.dialler.hurry();
  assert.equal(line.dials.length, 10);
  assert.equal(line.effects.pending, 0);
});

test("a dialler that is stopped dials no more and leaves nothing open", () => {
  const line = new Line();
  line.dialler.start();
  line.open();
  assert.ok(line.dialler.open !== null);
  line.dialler.stop();
  assert.equal(line.closed, 1);
  assert.equal(line.dialler.open, null);
  line.dialler.start();
  line.fail();
  line.dialler.stop();
  assert.equal(line.effects.pending, 0);
});

test("a refusal is told once a minute for each address and reason", () => {
  const refusals = new Refusals();
  assert.equal(refusals.note("10.0.0.1", "secret", 0), true);
  assert.equal(refusals.note("10.0.0.1", "secret", 59_999), false);
  assert.equal(refusals.note("10.0.0.1", "cluster", 59_999), true);
  assert.equal(refusals.note("10.0.0.2", "secret", 59_999), true);
  assert.equal(refusals.note("10.0.0.1", "secret", 60_000), true);
  assert.equal(refusals.note("10.0.0.1", "secret", 60_001), false);
});

test("made-up addresses fill no memory, and a minute later there is room again", () => {
  const refusals = new Refusals();
  let told = 0;
  for (let i = 0; i < 5_000; i++) if (refusals.note(`10.0.0.${i}`, "magic", 1)) told++;
  assert.equal(told, limits.refusals);
  assert.equal(refusals.note("10.1.0.1", "magic", 60_001), true);
});
