/** Looks at a shard of which only another node has a replica, and the answers for others' looks here. */
import { unreachable } from "../base/assert.ts";
import { QueueError } from "../base/errors.ts";
import type { TaskRead } from "../shard/reads.ts";
import {
  decodeCounts,
  decodeLook,
  decodeNames,
  decodeReads,
  decodeRetained,
  decodeScan,
  decodeTask,
  encodeCounts,
  encodeLook,
  encodeNames,
  encodeReads,
  encodeRetained,
  encodeScan,
  encodeTask,
  encodeTaskQuestion,
  type Look,
  type TaskQuestion,
} from "./look-codec.ts";
import type { PeerRequest } from "./peer-calls.ts";
import { callKinds } from "./remote-codec.ts";
import type { RemoteShard } from "./remote-shard.ts";
import type { ShardLook } from "./shard-look.ts";

export function lookThere(remote: RemoteShard): ShardLook {
  const ask = async <T>(look: Look, decode: (body: Buffer) => T): Promise<T> =>
    remote.ask(callKinds.look, encodeLook(look), decode);
  return {
    id: remote.id,
    // Its node sees to it with every look.
    barrier: () => Promise.resolve(),
    scan: (filter, bounds) => ask({ kind: "scan", filter, bounds }, decodeScan),
    read: (tenant, refs) => ask({ kind: "read", tenant, refs }, decodeReads),
    names: (tenant, bounds) => ask({ kind: "names", tenant, bounds }, decodeNames),
    counts: (tenant, queue) => ask({ kind: "counts", tenant, queue }, decodeCounts),
    retained: (tenant, from, bounds) =>
      ask({ kind: "retained", tenant, from, bounds }, decodeRetained),
  };
}

/** @throws QueueError not_found, no_leader, unknown_outcome */
export function readThere(remote: RemoteShard, question: TaskQuestion): Promise<TaskRead> {
  return remote.ask(callKinds.read, encodeTaskQuestion(question), decodeTask);
}

/** Answers a look of another node. @throws DecodeError */
export function answerLook(look: ShardLook, request: PeerRequest): void {
  const asked = decodeLook(request.body);
  answer(request, async () => {
    await look.barrier();
    return lookAt(look, asked);
  });
}

async function lookAt(look: ShardLook, asked: Look): Promise<Buffer> {
  switch (asked.kind) {
    case "scan":
      return encodeScan(await look.scan(asked.filter, asked.bounds));
    case "read":
      return encodeReads(await look.read(asked.tenant, asked.refs));
    case "names":
      return encodeNames(await look.names(asked.tenant, asked.bounds));
    case "counts":
      return encodeCounts(await look.counts(asked.tenant, asked.queue));
    case "retained":
      return encodeRetained(await look.retained(asked.tenant, asked.from, asked.bounds));
    default:
      return unreachable(asked);
  }
}

/** Answers another node's question for a task. */
export function answerTask(
  request: PeerRequest,
  question: TaskQuestion,
  read: () => Promise<TaskRead>,
): void {
  answer(request, async () => encodeTask(await read(), question.part));
}

function answer(request: PeerRequest, work: () => Promise<Buffer>): void {
  work().then(
    (body) => request.reply([body]),
    (error: unknown) =>
      request.refuse(error instanceof QueueError ? error : new QueueError("internal", "failed")),
  );
}
