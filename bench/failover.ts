/**
 * `npm run bench:failover`: three nodes with a backlog, the leader killed again and again. From each kill
 * it is timed, by clients that ask every node, until the first create is acknowledged and until the
 * first task of the old backlog is claimed.
 */
import { ClusterProcess } from "./cluster-process.ts";
import { describeMachine } from "./measure/machine.ts";
import { sleep } from "./measure/sleep.ts";
import { median } from "./measurement.ts";
import type { NodeProcess } from "./node-process.ts";
import { parseOptions } from "./options.ts";
import { machineLine, writeResults } from "./report.ts";

const trials = 20;
const backlog = 10_000;
const createsAtOnce = 1_000;
/** How long a client waits for an answer before it asks again. */
const patienceMs = 400;
const bars = { medianMs: 500, worstMs: 1_000 };

interface Answer {
  readonly status: number;
  readonly body: string;
}

class Clients {
  private readonly cluster: ClusterProcess;
  private key = 0;

  constructor(cluster: ClusterProcess) {
    this.cluster = cluster;
  }

  private async post(node: NodeProcess, path: string, body: unknown): Promise<Answer | null> {
    const { http, token } = node.target;
    try {
      const answer = await fetch(`${http}/v1${path}`, {
        method: "POST",
        redirect: "manual",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(patienceMs),
      });
      return { status: answer.status, body: await answer.text() };
    } catch {
      return null;
    }
  }

  /** Asks every node at once, over and over, until one says that it has done it. */
  private async until(path: string, body: () => unknown, status: number): Promise<Answer> {
    for (;;) {
      const up = this.cluster.nodes.filter((node) => node.isRunning);
      const answers = await Promise.all(up.map((node) => this.post(node, path, body())));
      const done = answers.find((answer) => answer?.status === status);
      if (done) return done;
      await sleep(2);
    }
  }

  create(): Promise<Answer> {
    return this.until(
      "/tasks",
      () => ({ command: "bench", payload: 1, idempotencyKey: `failover-${this.key++}` }),
      202,
    );
  }

  claim(): Promise<Answer> {
    return this.until("/tasks/claim", () => ({ commands: ["backlog"] }), 200);
  }

  async fill(): Promise<void> {
    for (let made = 0; made < backlog; made += createsAtOnce) {
      const tasks = Array.from({ length: createsAtOnce }, (_, i) => {
        return { command: "backlog", payload: made + i, idempotencyKey: `backlog-${made + i}` };
      });
      await this.until("/tasks/batch", () => ({ tasks }), 200);
    }
  }
}

async function trial(cluster: ClusterProcess, clients: Clients): Promise<[number, number]> {
  const leader = await cluster.leader();
  await clients.create();
  const from = performance.now();
  const killed = leader.kill();
  const since = (done: Promise<unknown>) => done.then(() => performance.now() - from);
  const stalls = await Promise.all([since(clients.create()), since(clients.claim())]);
  await killed;
  await leader.launch();
  return stalls;
}

function describe(name: string, values: readonly number[]): string {
  const worst = Math.max(...values);
  const holds = median(values) <= bars.medianMs && worst <= bars.worstMs ? "holds" : "MISSED";
  const figures = `median ${median(values).toFixed(0)} ms, worst ${worst.toFixed(0)} ms`;
  return `${name}: ${figures} (at most ${bars.medianMs} and ${bars.worstMs}: ${holds})`;
}

async function main(): Promise<void> {
  const options = parseOptions(["--name", "failover", ...process.argv.slice(2)]);
  const machine = describeMachine(options.folder);
  console.log(machineLine(machine));
  const cluster = await ClusterProcess.start({ folder: options.folder, env: {}, execArgv: [] }, 3);
  const writes: number[] = [];
  const claims: number[] = [];
  try {
    const clients = new Clients(cluster);
    await clients.fill();
    for (let i = 0; i < trials; i++) {
      const [write, claim] = await trial(cluster, clients);
      writes.push(write);
      claims.push(claim);
    }
  } finally {
    await cluster.stop();
  }
  console.log(describe("first create after kill -9", writes));
  console.log(describe("first claim of the old backlog", claims));
  const result = {
    scenario: "failover",
    trials,
    backlog,
    writeStallMs: writes,
    claimStallMs: claims,
  };
  console.log(`kept as ${writeResults(options.name, machine, [result])}`);
}

await main();
