/** `quorumq queue`: look at queues and act on them. */
import type { QueueRecord } from "../../client/http-queues.ts";
import { parseCount, parseQueue } from "../connection.ts";
import { cliExitCodes, usageError } from "../exit-codes.ts";
import type { Cell } from "../output.ts";
import { createProgress } from "../progress.ts";
import type { Session } from "../session.ts";
import { parseState } from "./task.ts";

export type QueueVerb = "show" | "pause" | "resume" | "redrive" | "purge";

export interface QueueFlags {
  readonly id?: readonly string[];
  readonly state?: readonly string[];
  readonly limit?: string;
  readonly yes?: boolean;
}

/** @returns the exit code */
export async function runQueueList(session: Session): Promise<number> {
  const { output, terminal } = session;
  const http = await session.http();
  const queues: QueueRecord[] = [];
  for await (const queue of http.allQueues()) {
    if (output.isJson) output.listItem("queues", queue);
    else queues.push(queue);
  }
  if (output.isJson) output.endList("queues");
  else if (queues.length === 0) terminal.note("no queues");
  else terminal.out(output.table(queueHead, queues.map(queueRow)));
  return cliExitCodes.ok;
}

/** @returns the exit code */
export async function runQueue(
  session: Session,
  verb: QueueVerb,
  args: readonly string[],
  flags: QueueFlags,
): Promise<number> {
  const queue = parseQueue(args[0] ?? "");
  const { output } = session;
  switch (verb) {
    case "show": {
      const record = await (await session.http()).queue(queue);
      output.answer(record, () => [output.table(queueHead, [queueRow(record)])]);
      return cliExitCodes.ok;
    }
    case "pause":
    case "resume": {
      const http = await session.http();
      const { paused } = await (verb === "pause" ? http.pause(queue) : http.resume(queue));
      output.answer({ queue, paused }, () => [`${queue} is ${paused ? "paused" : "not paused"}`]);
      return cliExitCodes.ok;
    }
    case "redrive":
    case "purge":
      return act(session, verb, queue, flags);
  }
}

/** What the server does in one go. */
const stepTasks = 100_000;

/** Goes on while the server has more, with a progress bar in front of people. */
async function act(
  session: Session,
  verb: "redrive" | "purge",
  queue: string,
  flags: QueueFlags,
): Promise<number> {
  const states = (flags.state ?? []).map(parseState);
  const ids = flags.id ?? [];
  const limit =
    flags.limit === undefined
      ? Number.POSITIVE_INFINITY
      : parseCount("--limit", flags.limit, { least: 1, most: 1e12 });
  if (verb === "purge") {
    if (states.length === 0 && ids.length === 0) throw usageError("purge: which; --state or --id");
    if (flags.yes !== true) throw usageError("purge removes tasks for good; say --yes");
  }
  const http = await session.http();
  const progress = createProgress(session, { label: verb, total: 0 });
  let count = 0;
  try {
    for (let more = true; more && count < limit; ) {
      const step = Math.min(stepTasks, limit - count);
      const filter = { ...(ids.length > 0 && { ids }), limit: step };
      const done = await (verb === "purge"
        ? http.purge(queue, { ...filter, ...(states.length > 0 && { states }) })
        : http.redrive(queue, filter));
      count += done.count;
      more = ids.length === 0 && (done.more || done.count === step);
      progress.update(0, { tasks: count });
    }
  } finally {
    progress.stop();
  }
  const name = verb === "purge" ? "purged" : "redriven";
  session.output.answer({ queue, [name]: count }, () => [`${count} ${name}`]);
  return cliExitCodes.ok;
}

export const queueHead = [
  "QUEUE",
  "READY",
  "DELAYED",
  "LEASED",
  "DEAD",
  "OLDEST",
  "CREATED/S",
  "SETTLED/S",
  "",
];

export function queueRow(queue: QueueRecord): readonly Cell[] {
  return [
    queue.queue,
    queue.ready,
    queue.delayed,
    queue.leased,
    queue.dead,
    age(queue.oldestReadyAgeMs),
    rate(queue.createdPerSecond),
    rate(queue.settledPerSecond),
    queue.paused ? "paused" : "",
  ];
}

/** For people: 0, 350 ms, 12 s, 5 m, 3 h, 2 d. */
export function age(ms: number): string {
  if (ms < 1000) return ms === 0 ? "0" : `${Math.round(ms)} ms`;
  const units = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "m"],
  ] as const;
  const [size, name] = units.find(([least]) => ms >= 2 * least) ?? [1000, "s"];
  return `${Math.round(ms / size)} ${name}`;
}

function rate(perSecond: number): string {
  return perSecond >= 10 || perSecond === 0 ? String(Math.round(perSecond)) : perSecond.toFixed(1);
}
