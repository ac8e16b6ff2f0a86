/**
 * Clients of a cluster over HTTP, and what they were told: producers with a key for every task, workers
 * that claim and complete, each through a random node, following redirects, trying again when the
 * answer says that it may help. At the end everything that was acknowledged must be so.
 */
import assert from "node:assert/strict";
import type { Cluster } from "./cluster.ts";

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A node that stands still must not hold a client for long; a claim waits for a second. */
const requestMs = 1_500;

export class Ledger {
  /** Ids of acknowledged tasks by key. */
  readonly created = new Map<string, string>();
  readonly settled = new Set<string>();
  readonly problems: string[] = [];
  /** Highest lease token seen of each task. */
  private readonly tokens = new Map<string, number>();
  /** Ms at which the last create and the last claim were acknowledged, and the longest time without a create. */
  lastCreateMs = performance.now();
  lastClaimMs = performance.now();
  longestGapMs = 0;
  private readonly cluster: Cluster;
  private readonly running: Promise<void>[] = [];
  /** Creates that are not answered yet: who asks goes on until it is told. */
  private asking = 0;
  private over = false;
  private producing = true;
  private number = 0;
  private readonly backlogMax: number;

  /** @param backlogMax - tasks that may wait: few, if all is to be drained soon after the fault */
  constructor(cluster: Cluster, backlogMax = 2_000) {
    this.cluster = cluster;
    this.backlogMax = backlogMax;
    cluster.onStop(() => {
      this.over = true;
      this.producing = false;
    });
  }

  start(producers = 4, workers = 4): void {
    for (let i = 0; i < producers; i++) this.running.push(this.produce());
    for (let i = 0; i < workers; i++) this.running.push(this.work(`w${i}`));
  }

  private url(): string {
    const { up } = this.cluster;
    const node = up[Math.floor(Math.random() * up.length)];
    return node?.url ?? "http://127.0.0.1:9";
  }

  /** @returns null if nobody knows what became of it */
  private async post(path: string, body: unknown): Promise<Answer | null> {
    try {
      const answer = await fetch(`${this.url()}/v1${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(requestMs),
      });
      const text = await answer.text();
      return {
        status: answer.status,
        body: text === "" ? {} : (JSON.parse(text) as Answer["body"]),
      };
    } catch {
      return null;
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  private async produce(): Promise<void> {
    while (this.producing) {
      const key = `key-${this.number++}`;
      this.asking++;
      while (!this.over) {
        const answer = await this.post("/tasks", {
          command: "load",
          payload: key,
          idempotencyKey: key,
          maxAttempts: 1000,
        });
        if (answer?.status === 202) {
          this.created.set(key, String(answer.body["id"]));
          this.noteCreate();
          break;
        }
        if (answer && !mayRetry(answer)) this.problem("create", answer);
        await this.pause(10);
      }
      this.asking--;
      if (this.created.size - this.settled.size > this.backlogMax) await this.pause(20);
    }
  }

  private noteCreate(): void {
    const now = performance.now();
    this.longestGapMs = Math.max(this.longestGapMs, now - this.lastCreateMs);
    this.lastCreateMs = now;
  }

  private async work(workerId: string): Promise<void> {
    while (!this.over) {
      const answer = await this.post("/tasks/claim/batch", {
        count: 20,
        waitSeconds: 1,
        leaseSeconds: 2,
        workerId,
      });
      if (answer?.status !== 200) {
        if (answer && answer.status !== 204 && !mayRetry(answer)) this.problem("claim", answer);
        if (answer?.status !== 204) await this.pause(10);
        continue;
      }
      this.lastClaimMs = performance.now();
      const tasks = answer.body["tasks"] as { id: string; leaseToken: string; payload: string }[];
      await Promise.all(tasks.map((task) => this.complete(task, workerId)));
    }
  }

  private async complete(
    task: { id: string; leaseToken: string; payload: string },
    workerId: string,
  ): Promise<void> {
    const token = Number(task.leaseToken);
    if (this.settled.has(task.id)) this.problems.push(`${task.id} came again after it was settled`);
    if ((this.tokens.get(task.id) ?? 0) >= token)
      this.problems.push(`${task.id}: token ${token} did not grow`);
    this.tokens.set(task.id, token);
    while (!this.over) {
      const answer = await this.post(`/tasks/${task.id}/result`, {
        status: "COMPLETED",
        leaseToken: task.leaseToken,
        workerId,
      });
      if (answer?.status === 200) {
        this.settled.add(task.id);
        return;
      }
      // The lease may have run out while nobody led.
      if (answer?.status === 409 && answer.body["code"] === "lease_lost") return;
      if (answer && !mayRetry(answer)) {
        this.problem(`result of ${task.id}`, answer);
        return;
      }
      await this.pause(10);
    }
  }

  private problem(what: string, { status, body }: Answer): void {
    this.problems.push(`${what}: ${status} ${JSON.stringify(body)}`);
  }

  /** Waits until so many more tasks are settled: the load is up. */
  async progress(more = 200, withinMs = 20_000): Promise<void> {
    const target = this.settled.size + more;
    const isThere = async () => (this.settled.size >= target ? true : null);
    await this.cluster.until(`${more} more settled`, isThere, withinMs).catch(async (error) => {
      const groups = await Promise.all(this.cluster.up.map((node) => node.groups().catch(String)));
      throw new Error(`${String(error)}: ${JSON.stringify(groups)}`);
    });
  }

  /** No more tasks; waits until all that was acknowledged is settled, and checks every one. */
  async verify(): Promise<void> {
    this.producing = false;
    const drained = async () => {
      // what is told after the look would not have been settled
      if (this.asking > 0) return null;
      for (const id of this.created.values()) if (!this.settled.has(id)) return null;
      return true;
    };
    try {
      await this.cluster.until("all acknowledged tasks are settled", drained, 30_000);
    } catch (error) {
      const left = [...this.created.values()].filter((id) => !this.settled.has(id));
      const states = await Promise.all(left.slice(0, 5).map((id) => this.stateOf(id)));
      throw new Error(
        `${String(error)}: ${left.length} are left: ${states.join(" ")}; ${this.problems.slice(0, 5).join("; ")}`,
      );
    } finally {
      this.over = true;
      await Promise.all(this.running);
    }
    assert.deepEqual(this.problems, []);
    const ids = new Set(this.created.values());
    assert.equal(ids.size, this.created.size, "one task per key");
    const wrong: string[] = [];
    const all = [...ids];
    await Promise.all(
      Array.from({ length: 8 }, async (_, lane) => {
        for (let i = lane; i < all.length; i += 8) {
          const state = await this.stateOf(all[i] as string);
          if (state !== "completed") wrong.push(`${all[i]} ${state}`);
        }
      }),
    );
    // Some were settled although the answer was lost: that is fine, but all are completed.
    assert.deepEqual(wrong, []);
  }

  private async stateOf(id: string): Promise<string> {
    const answer = await fetch(`${this.url()}/v1/tasks/${id}`);
    return String(((await answer.json()) as { state?: string }).state ?? answer.status);
  }
}

/** Another try is safe: creates carry a key, settles a token. */
function mayRetry({ status, body }: Answer): boolean {
  const code = String(body["code"]);
  return (
    status === 307 ||
    ["no_leader", "not_leader", "overloaded", "draining", "unknown_outcome", "timeout"].includes(
      code,
    )
  );
}
