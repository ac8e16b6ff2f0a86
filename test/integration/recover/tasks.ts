/** Tasks in every state on one node, what was acknowledged of them, and whether that still holds. */
import assert from "node:assert/strict";
import type { Server } from "../process.ts";

interface TaskJson {
  readonly id: string;
  readonly command: string;
  readonly payload: { readonly n: number; readonly text: string };
  readonly state: string;
  readonly leaseToken: string;
  readonly attempts: number;
}

/** What a client was told last of a task. */
interface Told {
  readonly n: number;
  state: string;
  /** Of the last claim. */
  token: number;
  result: number | null;
}

/** Requests at a time. */
const lanes = 8;
const queues = ["mail", "images", "reports"];
/** Large enough for several blocks in a table. */
const filler = "x".repeat(120);

export class Tasks {
  readonly told = new Map<string, Told>();
  private number = 0;

  private async call<T>(server: Server, path: string, body: unknown, status = 200): Promise<T> {
    const answer = await fetch(`${server.url}/v1${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    return JSON.parse(text) as T;
  }

  /** So many tasks more, some of them in each state. */
  async fill(server: Server, count: number): Promise<void> {
    for (let made = 0; made < count; made += 100) await this.create(server, 100);
    for (const command of queues) await this.work(server, command, Math.floor(count / 6));
    await this.checkpoint(server);
  }

  /** The rows of all that was done are saved: the log is not all there is. */
  private async checkpoint(server: Server): Promise<void> {
    for (;;) {
      const answer = await fetch(`${server.url}/metrics`);
      const unsaved = /^quorumq_overlay_rows\{.*\} (\d+)$/m.exec(await answer.text())?.[1];
      assert.ok(unsaved);
      if (unsaved === "0") return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  private async create(server: Server, count: number): Promise<void> {
    const tasks = Array.from({ length: count }, () => {
      const n = this.number++;
      const isLater = n % 10 === 9;
      return {
        command: queues[n % queues.length],
        payload: { n, text: `${n}-${filler}` },
        maxAttempts: n % 4 === 0 ? 1 : 5,
        priority: n % 3,
        ...(isLater && { delaySeconds: 3600 }),
      };
    });
    const { results } = await this.call<{ results: { task: TaskJson }[] }>(server, "/tasks/batch", {
      tasks,
    });
    for (const [i, { task }] of results.entries()) {
      const n = tasks[i]?.payload.n ?? -1;
      this.told.set(task.id, { n, state: task.state, token: 0, result: null });
    }
  }

  /** Claims, and completes, fails, hands back or keeps. */
  private async work(server: Server, command: string, count: number): Promise<void> {
    const { tasks } = await this.call<{ tasks: TaskJson[] }>(server, "/tasks/claim/batch", {
      commands: [command],
      count: Math.max(1, Math.min(1000, count)),
      leaseSeconds: 3600,
    });
    const results: unknown[] = [];
    for (const [i, task] of tasks.entries()) {
      const told = this.told.get(task.id);
      assert.ok(told);
      const token = Number(task.leaseToken);
      assert.ok(token > told.token, "tokens grow");
      told.token = token;
      told.state = "leased";
      const common = { taskId: task.id, leaseToken: task.leaseToken };
      if (i % 3 === 0) {
        results.push({ ...common, status: "COMPLETED", result: told.n });
        told.state = "completed";
        told.result = told.n;
      } else if (i % 3 === 1) {
        results.push({ ...common, status: "FAILED", error: `failed ${told.n}` });
        told.state = "failed";
      } else if (i % 6 === 2) {
        const { status } = await this.call<{ status: string }>(server, `/tasks/${task.id}/nack`, {
          leaseToken: task.leaseToken,
          delaySeconds: 0,
        });
        told.state = status === "dlq" ? "dead" : "ready";
      }
    }
    if (results.length > 0) await this.call(server, "/tasks/batch/results", { results });
  }

  /** Tasks that are as they were told to be, by what became of the others. */
  async look(server: Server): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const all = [...this.told];
    const lane = async (from: number) => {
      for (const [id, told] of all.filter((_, i) => i % lanes === from)) {
        const answer = await fetch(`${server.url}/v1/tasks/${id}`);
        const what = answer.status === 404 ? "gone" : await this.compare(server, answer, told);
        found.set(what, (found.get(what) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
    return found;
  }

  private async compare(server: Server, answer: Response, told: Told): Promise<string> {
    const task = (await answer.json()) as TaskJson;
    assert.equal(answer.status, 200, JSON.stringify(task));
    const { n } = told;
    // What is there is true: a payload of another task would be a lie.
    assert.deepEqual(task.payload, { n, text: `${n}-${filler}` });
    assert.equal(task.command, queues[n % queues.length]);
    if (task.state !== told.state) return `${told.state} is ${task.state}`;
    if (told.result === null) return "same";
    const result = await fetch(`${server.url}/v1/tasks/${task.id}/result`);
    const { result: record } = (await result.json()) as { result: { result?: number } };
    if (record.result === undefined) return "result is gone";
    assert.equal(record.result, told.result);
    return "same";
  }

  /** All that is ready is delivered once, with tokens that were never given. @returns how many */
  async drain(server: Server): Promise<number> {
    const seen = new Set<string>();
    const highest = Math.max(...[...this.told.values()].map(({ token }) => token));
    for (;;) {
      const answer = await fetch(`${server.url}/v1/tasks/claim/batch`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ count: 1000, leaseSeconds: 3600 }),
      });
      if (answer.status === 204) return seen.size;
      const { tasks } = (await answer.json()) as { tasks: TaskJson[] };
      for (const { id, leaseToken } of tasks) {
        assert.ok(!seen.has(id), `${id} came twice`);
        seen.add(id);
        assert.ok(Number(leaseToken) > highest, `token ${leaseToken} after ${highest}`);
      }
    }
  }

  /** The counts of all queues agree with their tasks. */
  async counts(server: Server): Promise<void> {
    for (const command of queues) {
      const answer = await fetch(`${server.url}/v1/admin/queues/${command}`);
      const queue = (await answer.json()) as Record<string, number>;
      const states = { ready: 0, delayed: 0, leased: 0, dead: 0 };
      for (const state of Object.keys(states) as (keyof typeof states)[]) {
        states[state] = await this.listed(server, command, state);
        assert.equal(queue[state], states[state], `${command}: ${state}`);
      }
    }
  }

  private async listed(server: Server, command: string, state: string): Promise<number> {
    let count = 0;
    let cursor = "";
    do {
      const from = cursor === "" ? "" : `&cursor=${cursor}`;
      const query = `command=${command}&state=${state}&limit=1000${from}`;
      const answer = await fetch(`${server.url}/v1/tasks?${query}`);
      const page = (await answer.json()) as { tasks: unknown[]; cursor?: string };
      count += page.tasks.length;
      cursor = page.cursor ?? "";
    } while (cursor !== "");
    return count;
  }
}
