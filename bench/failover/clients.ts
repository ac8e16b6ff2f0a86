/** HTTP clients that ask every node: they time what a cluster does when its leader is gone. */
import type { ClusterProcess } from "../cluster-process.ts";
import { sleep } from "../measure/sleep.ts";
import type { NodeProcess } from "../node-process.ts";

/** How long a client waits for an answer before it asks again. */
const patienceMs = 400;
const pauseMs = 2;
const createsAtOnce = 1_000;
/** Requests at a time to each node, by a probe. */
const probesPerNode = 2;

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Request {
  readonly path: string;
  readonly body: () => unknown;
  /** The one that says that it was done. */
  readonly status: number;
}

export class Clients {
  /** Ids of all tasks whose create was acknowledged, but those of the backlog. */
  readonly created: string[] = [];
  private readonly cluster: ClusterProcess;
  private key = 0;

  constructor(cluster: ClusterProcess) {
    this.cluster = cluster;
  }

  /** Creates a task at whichever node takes it first. */
  async create(): Promise<void> {
    const answer = await this.anyOf(this.createRequest());
    this.created.push(idOf(answer));
  }

  async claim(queue: string): Promise<void> {
    await this.anyOf({
      path: "/tasks/claim",
      body: () => ({ commands: [queue] }),
      status: 200,
    });
  }

  async fill(queue: string, tasks: number): Promise<void> {
    for (let made = 0; made < tasks; made += createsAtOnce) {
      const batch = Array.from({ length: Math.min(createsAtOnce, tasks - made) }, (_, i) => {
        return { command: queue, payload: made + i, idempotencyKey: `${queue}-${made + i}` };
      });
      await this.anyOf({ path: "/tasks/batch", body: () => ({ tasks: batch }), status: 200 });
    }
  }

  /** Creates without a pause at every node, until `isOver`; tells when each was acknowledged. */
  async probe(isOver: () => boolean, acked: (atMs: number) => void): Promise<void> {
    const loops = this.cluster.nodes.flatMap((node) =>
      Array.from({ length: probesPerNode }, async () => {
        while (!isOver()) {
          const answer = await this.ask(node, this.createRequest());
          if (answer === null) {
            await sleep(pauseMs);
            continue;
          }
          acked(performance.now());
          this.created.push(idOf(answer));
        }
      }),
    );
    await Promise.all(loops);
  }

  /** A task's state, from whichever node answers first; "gone" if there is none. */
  async stateOf(id: string): Promise<string> {
    for (;;) {
      for (const node of this.cluster.running) {
        const answer = await this.fetch(node, `/tasks/${id}`, { method: "GET" });
        if (answer?.status === 200) return (JSON.parse(answer.body) as { state: string }).state;
        if (answer?.status === 404) return "gone";
      }
      await sleep(pauseMs);
    }
  }

  private createRequest(): Request {
    const idempotencyKey = `failover-${this.key++}`;
    const body = () => ({ command: "probes", payload: 1, idempotencyKey });
    return { path: "/tasks", body, status: 202 };
  }

  /** Asks every node, each over and over, until one says that it has done it. */
  private anyOf(request: Request): Promise<Answer> {
    return new Promise((resolve) => {
      let isDone = false;
      for (const node of this.cluster.nodes) {
        const loop = async () => {
          while (!isDone) {
            const answer = await this.ask(node, request);
            if (answer === null) {
              await sleep(pauseMs);
              continue;
            }
            isDone = true;
            resolve(answer);
          }
        };
        void loop();
      }
    });
  }

  private async ask(node: NodeProcess, request: Request): Promise<Answer | null> {
    if (!node.isRunning) return null;
    const body = JSON.stringify(request.body());
    const answer = await this.fetch(node, request.path, { method: "POST", body });
    return answer?.status === request.status ? answer : null;
  }

  private async fetch(node: NodeProcess, path: string, init: RequestInit): Promise<Answer | null> {
    const { http, token } = node.target;
    try {
      const answer = await fetch(`${http}/v1${path}`, {
        ...init,
        redirect: "manual",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        signal: AbortSignal.timeout(patienceMs),
      });
      return { status: answer.status, body: await answer.text() };
    } catch {
      return null;
    }
  }
}

function idOf(answer: Answer): string {
  return (JSON.parse(answer.body) as { id: string }).id;
}
