/** What is done to the leader, and how long its clients wait because of it. */
import type { ClusterProcess } from "../cluster-process.ts";
import { sleep } from "../measure/sleep.ts";
import type { NodeProcess } from "../node-process.ts";
import type { Clients } from "./clients.ts";

export const backlogQueue = "backlog";
/** How long a stopped or cut off leader stays so: longer than any election. */
const faultMs = 2_500;
/** How long the effects of a planned change are watched. */
const watchMs = 500;

export const modeNames = ["kill", "stop", "cut", "transfer", "rolling"] as const;
export type ModeName = (typeof modeNames)[number];

export interface Stage {
  readonly cluster: ClusterProcess;
  readonly clients: Clients;
}

/** What the same clients wait at most in half a second without any change: no bar is for it. */
export const undisturbed = "the longest wait just before";

/** Ms of one trial, by what was waited for. */
export type Stalls = Readonly<Record<string, number>>;

export interface Mode {
  readonly title: string;
  /** In ms. */
  readonly bars: { readonly median: number; readonly p99: number; readonly worst: number };
  /** Trials, as a multiple of those that were asked for. */
  readonly times: number;
  readonly trial: (stage: Stage, place: number) => Promise<Stalls>;
}

const unbounded = Number.POSITIVE_INFINITY;

export const modes: Readonly<Record<ModeName, Mode>> = {
  kill: {
    title: "kill -9 of the leader",
    bars: { median: 500, p99: unbounded, worst: 1_000 },
    times: 1,
    async trial({ cluster, clients }) {
      const leader = await cluster.leader();
      return stalled(clients, {
        begin: () => leader.kill(),
        end: () => leader.launch(),
      });
    },
  },
  stop: lastingFault("SIGSTOP of the leader", {
    begin: (_cluster, leader) => leader.signal("SIGSTOP"),
    end: (_cluster, leader) => leader.signal("SIGCONT"),
  }),
  cut: lastingFault("leader cut off from the others", {
    begin: (cluster, leader) => cluster.cutOff(leader),
    end: (cluster) => cluster.heal(),
  }),
  transfer: {
    title: "planned transfer",
    bars: { median: 100, p99: 250, worst: unbounded },
    times: 5,
    trial: (stage, place) => heldUp(stage, () => transfer(stage.cluster, place)),
  },
  rolling: {
    title: "restart of a node, one after the other",
    bars: { median: unbounded, p99: unbounded, worst: 1_000 },
    times: 0.3,
    trial: ({ cluster, clients }, place) =>
      heldUp({ cluster, clients }, async () => {
        const node = cluster.nodes[place % cluster.nodes.length] as NodeProcess;
        await node.shutDown();
        await node.launch();
      }),
  },
};

/** A leader that is out of reach, but not dead, for longer than any election. */
function lastingFault(
  title: string,
  fault: Readonly<Record<"begin" | "end", (cluster: ClusterProcess, leader: NodeProcess) => void>>,
): Mode {
  return {
    title,
    bars: { median: unbounded, p99: unbounded, worst: 1_500 },
    times: 1,
    async trial({ cluster, clients }) {
      const leader = await cluster.leader();
      return stalled(clients, {
        begin: () => fault.begin(cluster, leader),
        end: async () => {
          await sleep(faultMs);
          fault.end(cluster, leader);
        },
      });
    },
  };
}

/** Times a fault: until a create is acknowledged, and until a task of the old backlog is claimed. */
async function stalled(
  clients: Clients,
  fault: { readonly begin: () => unknown; readonly end: () => unknown },
): Promise<Stalls> {
  await clients.create();
  const from = performance.now();
  const begun = fault.begin();
  const since = (done: Promise<unknown>) => done.then(() => performance.now() - from);
  const [create, claim] = await Promise.all([
    since(clients.create()),
    since(clients.claim(backlogQueue)),
  ]);
  await begun;
  await fault.end();
  return { "first create": create, "first claim of the old backlog": claim };
}

/** The longest time without an acknowledged create around a change, beside one without it. */
async function heldUp({ clients }: Stage, change: () => Promise<void>): Promise<Stalls> {
  let isOver = false;
  const acks: number[] = [];
  const probing = clients.probe(
    () => isOver,
    (atMs) => acks.push(atMs),
  );
  await sleep(watchMs);
  const from = performance.now();
  await change();
  await sleep(watchMs);
  isOver = true;
  await probing;
  const first = acks.findLastIndex((atMs) => atMs < from);
  return {
    "writes held up": longestGap(acks.slice(Math.max(0, first))),
    [undisturbed]: longestGap(acks.slice(0, first + 1)),
  };
}

export function longestGap(times: readonly number[]): number {
  let longest = 0;
  for (let i = 1; i < times.length; i++) {
    longest = Math.max(longest, (times[i] as number) - (times[i - 1] as number));
  }
  return longest;
}

async function transfer(cluster: ClusterProcess, place: number): Promise<void> {
  const leader = await cluster.leader();
  const others = cluster.nodes.filter((node) => node !== leader);
  const to = others[place % others.length] as NodeProcess;
  const answer = await fetch(`${leader.target.http}/v1/admin/leader/transfer`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${leader.target.token}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ to: `n${cluster.nodes.indexOf(to) + 1}` }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`transfer: ${answer.status} ${text}`);
}
