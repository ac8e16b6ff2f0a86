/** An Admin for tests of the edge: it writes down every call and answers as the test says. */
import type {
  Admin,
  ClusterNodes,
  ListQuery,
  PurgeChoice,
  QueuePage,
  QueueView,
  RaftStatus,
  TaskChoice,
  TaskPage,
} from "../../../src/router/admin.ts";

export class ScriptedAdmin implements Admin {
  /** Name of the call and what it was given, ids as hex. */
  readonly calls: unknown[][] = [];
  answerList: (query: ListQuery) => Promise<TaskPage> = () =>
    Promise.resolve({ tasks: [], next: null });
  answerQueues: () => QueuePage = () => ({ queues: [], next: null });
  /** Of redrive, purge and cleanup. */
  answerAction: (signal: AbortSignal) => Promise<number> = () => Promise.resolve(3);
  answerRaft: RaftStatus = { enabled: false, groups: [] };
  answerNodes: ClusterNodes = { nodes: [], leader: "" };

  list(tenant: string, query: ListQuery): Promise<TaskPage> {
    this.calls.push(["list", tenant, { ...query, after: query.after?.toString("hex") ?? null }]);
    return this.answerList(query);
  }

  queues(tenant: string, page: { readonly after: string; readonly limit: number }) {
    this.calls.push(["queues", tenant, page]);
    return Promise.resolve(this.answerQueues());
  }

  queue(tenant: string, queue: string): Promise<QueueView> {
    this.calls.push(["queue", tenant, queue]);
    return Promise.resolve(queueView(queue));
  }

  redrive(tenant: string, queue: string, choice: TaskChoice): Promise<number> {
    this.calls.push(["redrive", tenant, queue, shown(choice)]);
    return this.answerAction(choice.signal);
  }

  purge(tenant: string, queue: string, choice: PurgeChoice): Promise<number> {
    this.calls.push(["purge", tenant, queue, { ...shown(choice), states: choice.states }]);
    return this.answerAction(choice.signal);
  }

  pause(tenant: string, queue: string, paused: boolean): Promise<boolean> {
    this.calls.push(["pause", tenant, queue, paused]);
    return Promise.resolve(paused);
  }

  cleanup(
    tenant: string,
    choice: { readonly beforeMs: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<number> {
    const { beforeMs, limit } = choice;
    this.calls.push(["cleanup", tenant, { beforeMs, limit }]);
    return this.answerAction(choice.signal);
  }

  raftStatus(): RaftStatus {
    return this.answerRaft;
  }

  clusterNodes(): ClusterNodes {
    return this.answerNodes;
  }
}

function shown({ ids, limit }: TaskChoice) {
  return { ids: ids?.map((id) => id.toString("hex")) ?? null, limit };
}

export function queueView(queue: string, more: Partial<QueueView> = {}): QueueView {
  return {
    queue,
    ready: 1,
    delayed: 2,
    leased: 3,
    dead: 4,
    paused: false,
    oldestReadyAgeMs: 5,
    createdPerSecond: 0.5,
    settledPerSecond: 0.25,
    ...more,
  };
}
