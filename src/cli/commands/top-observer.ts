/** What `top` shows, gathered: the cluster's nodes, their metrics, the queues. */
import { QuorumQError } from "../../client/errors.ts";
import type { HttpClient } from "../../client/http-client.ts";
import type { ClusterNode } from "../../client/http-cluster.ts";
import type { QueueRecord } from "../../client/http-queues.ts";
import { Exposition, quantileBetween } from "../exposition.ts";
import type { Session } from "../session.ts";

/** A node's share between two looks; NaN = unknown, `null` in JSON. */
export interface NodeLoad {
  readonly id: string;
  readonly isReachable: boolean;
  readonly shardsLed: number;
  /** Tasks per second, by operation. */
  readonly perSecond: Readonly<Record<Operation, number>>;
  /** Upper bounds in ms: the median and the 99th percentile. */
  readonly p50Ms: Readonly<Record<Operation, number>>;
  readonly p99Ms: Readonly<Record<Operation, number>>;
  readonly syncP99Ms: number;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly residentBytes: number;
  readonly loopDelayP99Ms: number;
  readonly streams: number;
  readonly waitingClaims: number;
}

export interface View {
  readonly at: string;
  readonly nodes: readonly NodeLoad[];
  /** The busiest first: by ready tasks. */
  readonly queues: readonly QueueRecord[];
  /** Why there are no queues; undefined = there is nothing to say. */
  readonly note: string | undefined;
}

export const operations = ["create", "claim", "settle"] as const;
export type Operation = (typeof operations)[number];

/** Beyond so many queues `top` shows what came first: it is no inventory. */
const queuesMax = 1000;
/** A node that does not answer may not hold up the others. */
const scrapeMs = 2000;

interface Scrape {
  readonly atMs: number;
  readonly metrics: Exposition;
}

export class Observer {
  private readonly session: Session;
  private http: HttpClient | null = null;
  private scrapes = new Map<string, Scrape>();

  constructor(session: Session) {
    this.session = session;
  }

  /** @throws QuorumQError when no node answers */
  async look(): Promise<View> {
    this.http ??= await this.session.http();
    const { nodes } = await this.http.clusterNodes();
    const [loads, queues] = await Promise.all([this.loads(nodes), this.queues(this.http)]);
    const at = new Date(this.session.effects.clock.wallMs()).toISOString();
    return { at, nodes: loads, ...queues };
  }

  private async queues(http: HttpClient): Promise<Pick<View, "queues" | "note">> {
    try {
      const { queues, cursor } = await http.listQueues({ limit: queuesMax });
      const busiest = [...queues].sort(
        (a, b) => b.ready - a.ready || b.leased - a.leased || (a.queue < b.queue ? -1 : 1),
      );
      const note = cursor === undefined ? undefined : `of the first ${queuesMax} queues`;
      return { queues: busiest, note };
    } catch (error) {
      const isRefused = error instanceof QuorumQError && error.code === "permission_denied";
      if (!isRefused) throw error;
      return { queues: [], note: "queues are shown to admins only" };
    }
  }

  private async loads(nodes: readonly ClusterNode[]): Promise<readonly NodeLoad[]> {
    const { http } = await this.session.connection();
    const before = this.scrapes;
    this.scrapes = new Map();
    return Promise.all(
      nodes.map(async (node) => {
        // a single node may not know what it is called from outside
        const url = node.http === "" ? (http.split(",")[0] ?? "") : node.http;
        const scrape = node.reachable ? await this.scrape(url) : null;
        if (scrape !== null) this.scrapes.set(node.id, scrape);
        return loadOf(node, before.get(node.id) ?? null, scrape);
      }),
    );
  }

  /** Null when it does not answer: the view says so. */
  private async scrape(url: string): Promise<Scrape | null> {
    const abort = new AbortController();
    const timer = this.session.effects.timers.after(scrapeMs, () => abort.abort());
    try {
      const response = await fetch(new URL("/metrics", url), { signal: abort.signal });
      if (!response.ok) return null;
      const metrics = new Exposition(await response.text());
      return { atMs: this.session.effects.clock.monotonicMs(), metrics };
    } catch {
      return null; // gone, or its metrics are elsewhere: its row is empty
    } finally {
      timer.cancel();
    }
  }
}

function loadOf(node: ClusterNode, before: Scrape | null, after: Scrape | null): NodeLoad {
  const seconds =
    before === null || after === null ? Number.NaN : (after.atMs - before.atMs) / 1000;
  const now = after?.metrics ?? new Exposition("");
  const then = before?.metrics ?? new Exposition("");
  const gauge = (name: string, labels = {}): number =>
    after === null ? Number.NaN : now.sum(name, labels);
  const perSecond = (name: string, labels = {}): number =>
    (now.sum(name, labels) - then.sum(name, labels)) / seconds;
  const quantile = (op: Operation, q: number): number =>
    1000 *
    quantileBetween(then, now, {
      name: "quorumq_operation_seconds",
      labels: { op },
      quantile: q,
    });
  const each = (value: (op: Operation) => number): Record<Operation, number> => ({
    create: value("create"),
    claim: value("claim"),
    settle: value("settle"),
  });
  const sync = { name: "quorumq_commit_sync_seconds", labels: {}, quantile: 0.99 };
  return {
    id: node.id,
    isReachable: node.reachable,
    shardsLed: node.shardsLed.length,
    perSecond: each((op) => perSecond("quorumq_tasks_total", { op })),
    p50Ms: each((op) => quantile(op, 0.5)),
    p99Ms: each((op) => quantile(op, 0.99)),
    syncP99Ms: 1000 * quantileBetween(then, now, sync),
    cpuPercent: 100 * perSecond("quorumq_process_cpu_seconds"),
    residentBytes:
      gauge("quorumq_process_resident_bytes", { kind: "anonymous" }) +
      gauge("quorumq_process_resident_bytes", { kind: "shared" }),
    loopDelayP99Ms: 1000 * gauge("quorumq_event_loop_delay_seconds", { stat: "p99" }),
    streams: gauge("quorumq_grpc_streams"),
    waitingClaims: gauge("quorumq_waiting_claims"),
  };
}
