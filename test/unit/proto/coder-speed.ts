/**
 * How long the hot messages take: `npx tsx test/unit/proto/coder-speed.ts`. Not a test: times
 * depend on the machine. Measured on Node 20, 2 cores, 128 tasks of 200 bytes, in µs per batch:
 * create_batch written 29, read 8, read and acked 21; task_batch written 50, read 105;
 * result_batch written 45, read 27.
 */
import { encodeCreateAcks } from "../../../src/api/ack-coder.ts";
import { encodeCreateBatch } from "../../../src/api/create-coder.ts";
import { loadWire } from "../../../src/api/proto.ts";
import { encodeResultBatch } from "../../../src/api/settle-coder.ts";
import { encodeTaskBatch } from "../../../src/api/task-coder.ts";
import { exampleGrant } from "./examples.ts";

const wire = loadWire();
const batch = 128;
const payload = Buffer.alloc(200, "x");
const inputs = Array.from({ length: batch }, (_, seq) => ({ seq, queue: "mail", payload }));
const shape = {
  queue: "mail",
  workerId: "worker-1",
  priority: 0,
  leaseToken: 2 ** 40,
  texts: null,
};
const grants = [
  exampleGrant(
    Array.from({ length: batch }, () => payload),
    shape,
  ),
];
const results = Array.from({ length: batch }, () => ({
  taskId: "01890a5d-ac96-774b-bcce-b302099a8057",
  leaseToken: 2 ** 40,
  status: "COMPLETED" as const,
  result: null,
  error: "",
}));
const creates = encodeCreateBatch(inputs, null);
const settles = encodeResultBatch(results);
const tasks = encodeTaskBatch(grants);
const columns = {
  codes: new Uint8Array(batch),
  ids: Buffer.alloc(batch * 16, 7),
  duplicates: new Uint8Array(batch),
  error: () => undefined,
};

function readAll(event: { readonly kind: string } | { next(): boolean }): void {
  if ("next" in event) while (event.next());
}

function readCreates() {
  const event = wire.producer.Stream.requestDeserialize(creates);
  readAll(event);
  return event;
}

const cases: Record<string, () => unknown> = {
  "client encodes create_batch": () => encodeCreateBatch(inputs, null),
  "server reads create_batch": readCreates,
  "server reads it and encodes create_ack_batch": () => {
    const event = readCreates();
    return event.kind === "create_batch" ? encodeCreateAcks(event, columns) : undefined;
  },
  "server encodes task_batch": () => encodeTaskBatch(grants),
  "client reads task_batch": () => wire.worker.Stream.responseDeserialize(tasks),
  "client encodes result_batch": () => encodeResultBatch(results),
  "server reads result_batch": () => readAll(wire.worker.Stream.requestDeserialize(settles)),
};

for (const [name, run] of Object.entries(cases)) {
  for (let i = 0; i < 3000; i++) run();
  const rounds = 10_000;
  const from = performance.now();
  for (let i = 0; i < rounds; i++) run();
  const us = ((performance.now() - from) * 1000) / rounds;
  process.stdout.write(`${name}: ${us.toFixed(1)} µs per ${batch}\n`);
}
