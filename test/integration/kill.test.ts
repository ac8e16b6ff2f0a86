/**
 * kill -9 in the middle of full load, again and again: every acknowledged create is there once,
 * nothing acknowledged as settled comes again, and the node serves again within two seconds (median).
 *
 * Producers and workers go on through all of it on the same streams of the SDK; what they were told
 * is all that they may rely on.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { test } from "node:test";
import {
  createProducerStream,
  createWorkerStream,
  type ProducerStream,
  type WorkerStream,
} from "../../src/client/index.ts";
import { freePorts, type Server, startServer } from "./process.ts";

const kills = 20;
const producers = 4;
const workers = 4;
const batch = 128;
/** Tasks that may wait: small, so that all is drained soon after the last kill. */
const backlogMax = 20_000;
/** Of the median: a machine that others use too may stall one start. */
const readyWithinMs = 2_000;
const readyAtLastMs = 15_000;
/** Above it a kill counts as one under full load. */
const loadShare = 0.5;

/** What the clients know. */
class Ledger {
  readonly created = new Set<string>();
  readonly settled = new Set<string>();
  /** Tasks that came although their result had been acknowledged. */
  readonly cameAgain: string[] = [];
  readonly createdTwice: string[] = [];
  readonly unexpected: string[] = [];
  maxRate = 0;

  create(id: string): void {
    if (this.created.has(id)) this.createdTwice.push(id);
    this.created.add(id);
  }
}

function produce(stream: ProducerStream, ledger: Ledger, isOver: () => boolean): void {
  const payloads = Array.from({ length: batch }, (_, i) => Buffer.from(`{"n":${100_000 + i}}`));
  const options = stream.encodeOptions("load", {});
  const next = () => {
    if (isOver()) return;
    if (ledger.created.size - ledger.settled.size > backlogMax) {
      setTimeout(next, 5);
      return;
    }
    stream.sendBatch(options, payloads, (outcome) => {
      if (outcome.kind !== "acked") {
        ledger.unexpected.push(`create: ${outcome.error.message}`);
      } else {
        const { failures, taskIds } = outcome.acks.decode();
        for (const failure of failures) {
          if (failure) ledger.unexpected.push(`create: ${failure.code}`);
        }
        for (const id of taskIds) ledger.create(id);
      }
      next();
    });
  };
  for (let i = 0; i < 4; i++) next();
}

function work(endpoints: string, workerId: string, ledger: Ledger): WorkerStream {
  const slots = 4;
  const stream: WorkerStream = createWorkerStream(
    { endpoints, queues: ["load"], leaseSeconds: 1, workerId },
    {
      opened: () => {
        for (let i = 0; i < slots; i++) stream.ready(batch);
      },
      tasks: (tasks) => {
        for (let i = 0; i < tasks.count; i++) {
          const from = tasks.idFrom[i] as number;
          const id = tasks.buffer.toString("latin1", from, from + 36);
          if (ledger.settled.has(id)) ledger.cameAgain.push(id);
        }
        stream.complete(tasks);
        stream.ready(batch);
      },
      resultAcks: (frame) => {
        const acks = frame.decode();
        for (let i = 0; i < acks.count; i++) {
          const failure = acks.failures[i];
          if (!failure) ledger.settled.add(acks.taskIds[i] as string);
          // A lease of before the kill may be over when its result is sent.
          else if (failure.code !== "lease_lost") ledger.unexpected.push(`result: ${failure.code}`);
        }
      },
      ack: () => undefined,
      canceled: () => undefined,
      lost: () => undefined,
      refused: (error) => ledger.unexpected.push(`refused: ${error.message}`),
    },
  );
  stream.connect();
  return stream;
}

/** Waits for tasks to be settled for a while, the last second at full speed, within a bound. */
async function loadUp(ledger: Ledger): Promise<number> {
  for (let second = 0; second < 15; second++) {
    const before = ledger.settled.size;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const rate = ledger.settled.size - before;
    ledger.maxRate = Math.max(ledger.maxRate, rate);
    if (second > 0 && rate >= loadShare * ledger.maxRate) return rate;
  }
  throw new Error("the load does not come up again");
}

/** Waits until no task is ready, delayed or leased. */
async function drained(url: string): Promise<void> {
  const patience = performance.now() + 60_000;
  for (;;) {
    const text = await (await fetch(`${url}/metrics`)).text();
    const counts = text.matchAll(
      /^quorumq_queue_tasks\{.*state="(ready|delayed|leased)"\} (\d+)$/gm,
    );
    const left = [...counts].reduce((sum, match) => sum + Number(match[2]), 0);
    if (left === 0) return;
    assert.ok(performance.now() < patience, `${left} tasks are left`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function notCompleted(url: string, ids: readonly string[]): Promise<string[]> {
  const bad: string[] = [];
  const lanes = Array.from({ length: 16 }, async (_, lane) => {
    for (let i = lane; i < ids.length; i += 16) {
      const answer = await fetch(`${url}/v1/tasks/${ids[i]}`);
      const task = (await answer.json()) as { state?: string };
      if (task.state !== "completed") bad.push(`${ids[i]} ${task.state ?? answer.status}`);
    }
  });
  await Promise.all(lanes);
  return bad;
}

test("kill -9 under full load, 20 times, loses nothing and repeats nothing settled", async () => {
  // Not /tmp: it may be a file system that forgets.
  const path = mkdtempSync("/var/tmp/quorumq-kill-");
  const ports = await freePorts();
  const env = {
    BACKOFF_BASE_SECONDS: "0.05",
    BACKOFF_MAX_SECONDS: "0.05",
    MAX_ATTEMPTS_DEFAULT: "1000",
  };
  const endpoints = `127.0.0.1:${ports.grpc}`;
  const ledger = new Ledger();
  const starts: number[] = [];
  let isOver = false;
  let server: Server = await startServer(path, env, ports);
  const streams = Array.from({ length: producers }, () => createProducerStream({ endpoints }));
  for (const stream of streams) produce(stream, ledger, () => isOver);
  const workerStreams = Array.from({ length: workers }, (_, i) => work(endpoints, `w${i}`, ledger));
  try {
    for (let i = 0; i < kills; i++) {
      await loadUp(ledger);
      server.signal("SIGKILL");
      await server.ended;
      const killedMs = performance.now();
      server = await startServer(path, env, ports);
      starts.push(performance.now() - killedMs);
    }
    starts.sort((a, b) => a - b);
    const told = `ready after ${starts.map(Math.round).join(", ")} ms`;
    assert.ok((starts[kills / 2] as number) <= readyWithinMs, told);
    assert.ok((starts.at(-1) as number) <= readyAtLastMs, told);
    isOver = true;
    await drained(server.url);
    // A result may have been logged and its ack lost with the node: the node knows.
    const unsure = [...ledger.created].filter((id) => !ledger.settled.has(id));
    const lost = await notCompleted(server.url, unsure);
    assert.deepEqual(lost.slice(0, 5), [], `${lost.length} of ${ledger.created.size} lost`);
    assert.deepEqual(ledger.cameAgain.slice(0, 5), []);
    assert.deepEqual(ledger.createdTwice.slice(0, 5), []);
    assert.deepEqual(ledger.unexpected.slice(0, 5), []);
  } finally {
    isOver = true;
    await Promise.all([...streams, ...workerStreams].map((stream) => stream.close()));
    server.signal("SIGTERM");
    await server.ended;
    rmSync(path, { recursive: true, force: true });
  }
});
