/** Many queues with a few tasks each: memory, lists that page through, and every task claimable. */
import { randomBytes } from "node:crypto";
import { HttpConnection } from "../load/http-connection.ts";
import { UsageWatch } from "../measure/process-usage.ts";
import type { Measurement } from "../measurement.ts";
import type { NodeProcess } from "../node-process.ts";
import { type BenchContext, durabilityText, withNode } from "./scenario.ts";

const counts = { quick: 10_000, full: 100_000 };
const tasksEach = 10;
const perRequest = 100;
const clients = 16;

export async function* queues(context: BenchContext): AsyncGenerator<Measurement> {
  const count = context.options.isQuick ? counts.quick : counts.full;
  const token = randomBytes(24).toString("hex");
  const admin = { token, subject: "producer", raw: { role: "ADMIN" } };
  const env = { PRODUCER_AUTH_CONFIG: JSON.stringify(admin) };
  yield await withNode(context, env, async (node) => {
    const watch = new UsageWatch(node.pid);
    const problems: string[] = [];
    const from = performance.now();
    await create(node, token, count);
    const createdMs = performance.now() - from;
    const names = await listAll(node, token, "/v1/admin/queues", "queues", "command");
    const queuesMs = performance.now() - from - createdMs;
    if (names !== count) problems.push(`${names} of ${count} queues were listed`);
    const ids = await listAll(node, token, "/v1/tasks", "tasks", "id");
    const tasksMs = performance.now() - from - createdMs - queuesMs;
    if (ids !== count * tasksEach)
      problems.push(`${ids} of ${count * tasksEach} tasks were listed`);
    const short = await claimAll(node, count);
    if (short > 0) problems.push(`${short} queues did not give all of their tasks`);
    const { rssMax, mappedMax } = watch.stop();
    return {
      scenario: "queues",
      label: `${count} queues of ${tasksEach} tasks`,
      durability: durabilityText(context),
      figures: {
        rssMax,
        mappedMax,
        createSeconds: createdMs / 1000,
        listQueuesSeconds: queuesMs / 1000,
        listTasksSeconds: tasksMs / 1000,
      },
      bars: [
        { what: "RSS", value: rssMax / 1e6, limit: 500, direction: "at most", unit: "MB" },
        { what: "queues not claimable", value: short, limit: 0, direction: "at most", unit: "" },
      ],
      problems,
      configuration: { count, tasksEach, clients },
    };
  });
}

/** Runs `step` for 0..count-1 over several connections. */
async function spread(
  node: NodeProcess,
  token: string,
  count: number,
  step: (connection: HttpConnection, i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    const connection = new HttpConnection(node.target.http, token);
    while (next < count) await step(connection, next++);
    connection.close();
  };
  await Promise.all(Array.from({ length: clients }, one));
}

function post(connection: HttpConnection, path: string, body: string) {
  return new Promise<{ readonly status: number; readonly body: Buffer }>((resolve) => {
    connection.post(path, body, (status, answer) => resolve({ status, body: answer }));
  });
}

async function create(node: NodeProcess, token: string, count: number): Promise<void> {
  await spread(node, token, count / perRequest, async (connection, i) => {
    const tasks: string[] = [];
    for (let q = i * perRequest; q < (i + 1) * perRequest; q++) {
      for (let t = 0; t < tasksEach; t++) tasks.push(`{"command":"${nameOf(q)}","payload":${t}}`);
    }
    const { status } = await post(connection, "/v1/tasks/batch", `{"tasks":[${tasks.join()}]}`);
    if (status !== 200) throw new Error(`a batch was refused: ${status}`);
  });
}

/** @returns how many entries there are; each must be above the one before */
async function listAll(
  node: NodeProcess,
  token: string,
  path: string,
  list: string,
  key: string,
): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  let cursor = "";
  let last = "";
  for (let count = 0; ; ) {
    const response = await fetch(`${node.target.http}${path}?limit=1000${cursor}`, { headers });
    const page = (await response.json()) as Record<string, unknown>;
    for (const entry of (page[list] ?? []) as Record<string, string>[]) {
      const name = entry[key] ?? "";
      if (name <= last) throw new Error(`${name} is listed behind ${last}`);
      last = name;
      count++;
    }
    if (page["cursor"] === undefined) return count;
    cursor = `&cursor=${String(page["cursor"])}`;
  }
}

/** @returns how many queues gave fewer tasks than they had */
async function claimAll(node: NodeProcess, count: number): Promise<number> {
  let short = 0;
  await spread(node, node.target.token, count, async (connection, i) => {
    const body = `{"commands":["${nameOf(i)}"],"count":${tasksEach},"leaseSeconds":3600}`;
    const answer = await post(connection, "/v1/tasks/claim/batch", body);
    const { tasks } = answer.status === 200 ? JSON.parse(answer.body.toString()) : { tasks: [] };
    if (tasks.length !== tasksEach) short++;
  });
  return short;
}

function nameOf(queue: number): string {
  return `queue-${String(queue).padStart(6, "0")}`;
}
