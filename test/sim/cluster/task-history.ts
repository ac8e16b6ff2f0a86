/**
 * The history of each task of a cluster, as its clients saw it, held against one task that is alone in
 * the world (FAULTS 3.11). Time passes unseen: a lease may end, a task that was nacked may become
 * ready, and a claim whose answer was lost may have taken it, at any moment.
 */

import { linearize, type Operation, type Verdict } from "../checkers/linearizable.ts";
import { must } from "../violation.ts";

/** What a read shows of a task. */
interface View {
  readonly state: string;
  readonly attempts: number;
}

interface Task {
  readonly phase: "none" | "open" | "leased" | "completed";
  /** Of the last claim that somebody was told of, and the attempts that it told. */
  readonly token: number;
  readonly attempts: number;
}

type TaskOperation = Operation<Task>;
type Step = TaskOperation["step"];
type Settled = "done" | "lease_lost" | "nothing" | "unknown";

const nobody: Task = { phase: "none", token: 0, attempts: 0 };
/** Longer histories are not searched. */
const operationsMax = 200;
/** Share of the tasks whose search may be too long. */
const unknownMax = 0.01;

export class TaskHistories {
  private readonly histories = new Map<string, Set<TaskOperation>>();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  created(id: string, calledUs: number): void {
    const step: Step = (task) => [task.phase === "none" ? { ...task, phase: "open" } : task];
    this.add(id, { what: "create", calledUs, answeredUs: this.now(), step });
  }

  /** A task may be claimed before its maker hears of it. */
  claimed(id: string, calledUs: number, token: number, attempts: number): void {
    const step: Step = (task) => {
      const isNext = token > task.token && attempts > task.attempts;
      return isNext && task.phase !== "completed" ? [{ phase: "leased", token, attempts }] : [];
    };
    const what = `claim ${token} ${attempts}`;
    this.add(id, { what, calledUs, answeredUs: this.now(), step });
  }

  /** A settle is sent. @returns what to call with each answer, if there is one */
  settling(id: string, kind: "complete" | "nack", token: number): (outcome: Settled) => void {
    const calledUs = this.now();
    const what = `${kind} ${token}`;
    const step = done(kind, token);
    const open = { what, calledUs, answeredUs: Number.POSITIVE_INFINITY, step };
    const history = this.add(id, open);
    return (outcome) => {
      if (outcome === "unknown") return;
      history.delete(open);
      if (outcome === "nothing") return;
      const told = outcome === "done" ? step : lost(kind, token);
      history.add({ ...open, what: `${what} ${outcome}`, answeredUs: this.now(), step: told });
    };
  }

  /** @param view - null: there is no such task */
  read(id: string, calledUs: number, view: View | null): void {
    const what = `read ${view?.state} ${view?.attempts}`;
    this.add(id, { what, calledUs, answeredUs: this.now(), step: seen(view) });
  }

  private add(id: string, operation: TaskOperation): Set<TaskOperation> {
    const history = this.histories.get(id) ?? new Set();
    this.histories.set(id, history.add(operation));
    return history;
  }

  /** At the end: each task has a history that one task can have. */
  check(): void {
    let unknown = 0;
    for (const [id, history] of this.histories) {
      const verdict = verdictOn([...history]);
      if (verdict === "unknown") unknown++;
      must(
        verdict !== "not linearizable",
        "a task is linearizable",
        id,
        ...[...history].map(textOf),
      );
    }
    const most = Math.max(1, this.histories.size * unknownMax);
    must(unknown <= most, "histories that could not be searched", unknown, this.histories.size);
  }
}

function verdictOn(all: readonly TaskOperation[]): Verdict {
  // A token is given once: of its settles whose outcome nobody knows one alone can have an effect.
  const open = new Map<string, TaskOperation>();
  for (const one of all) {
    if (!Number.isFinite(one.answeredUs) && !open.has(one.what)) open.set(one.what, one);
  }
  const history = all.filter(
    (one) => Number.isFinite(one.answeredUs) || open.get(one.what) === one,
  );
  return history.length > operationsMax ? "unknown" : linearize(history, nobody, nameOf);
}

function done(kind: "complete" | "nack", token: number): Step {
  return (task) => {
    if (isRepeated(kind, token, task)) return [task];
    if (task.phase !== "leased" || task.token !== token) return [];
    return [{ ...task, phase: kind === "complete" ? "completed" : "open" }];
  };
}

/** The lease has ended, or another claim has the task. */
function lost(kind: "complete" | "nack", token: number): Step {
  return (task) => {
    if (isRepeated(kind, token, task)) return [];
    return [task.phase === "leased" && task.token === token ? { ...task, phase: "open" } : task];
  };
}

/** The same result again gets the same answer. */
function isRepeated(
  kind: "complete" | "nack",
  token: number,
  { phase, token: last }: Task,
): boolean {
  return kind === "complete" && phase === "completed" && last === token;
}

function seen(view: View | null): Step {
  return (task) => {
    if (view === null) return task.phase === "none" ? [task] : [];
    const { state, attempts } = view;
    if (task.phase === "completed") return state === "completed" ? [task] : [];
    if (state === "completed" || attempts < task.attempts) return [];
    // More attempts are those of claims whose answers were lost, or are still on their way.
    const isNews = attempts > task.attempts;
    if (state === "leased" && !isNews) return task.phase === "leased" ? [task] : [];
    return [{ ...task, phase: "open" }];
  };
}

function nameOf({ phase, token, attempts }: Task): string {
  return `${phase} ${token} ${attempts}`;
}

function textOf({ what, calledUs, answeredUs }: TaskOperation): string {
  return `\n  ${calledUs}..${answeredUs} ${what}`;
}
