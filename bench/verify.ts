/** Whether a run lost a task or did one twice: the load's ledger against the node's own words. */
import { numberOf } from "./load/payload.ts";
import type { LoadResult } from "./load/protocol.ts";
import type { LoadOutcome } from "./load-process.ts";
import { metricSum } from "./measure/exposition.ts";
import type { NodeProcess } from "./node-process.ts";

export interface Expected {
  /** Tasks of the plan's `existing`, created by another process. */
  readonly existing: number;
  /** Whether finished tasks are kept until the end, so that samples can be looked up. */
  readonly keepsDone: boolean;
}

/** Even on a busy machine the bench's own process is called more often; a paused one jumps. */
const standstillMs = 2_000;

/** @returns sentences; none if all is well */
export async function verify(
  node: NodeProcess,
  outcome: LoadOutcome,
  expected: Expected,
): Promise<string[]> {
  const problems = ledgerProblems(outcome);
  const metrics = await node.get("/metrics");
  for (const state of ["ready", "leased", "delayed", "dead"]) {
    const left = metricSum(metrics, "quorumq_queue_tasks", { state });
    if (left > 0) problems.push(`${left} tasks are ${state} after the drain`);
  }
  const { created, completed } = outcome.counts;
  const atNode = (op: string) => metricSum(metrics, "quorumq_tasks_total", { op });
  if (expected.existing === 0 && atNode("create") !== created) {
    problems.push(`the node made ${atNode("create")} tasks, ${created} were acknowledged`);
  }
  if (expected.existing === 0 && atNode("settle") !== completed) {
    problems.push(`the node settled ${atNode("settle")} tasks, ${completed} were acknowledged`);
  }
  if (expected.keepsDone) problems.push(...(await sampleProblems(node, outcome)));
  return problems;
}

/** What a load with a drain says by itself: its counts, and whether the moment was a fair one. */
export function ledgerProblems(outcome: LoadOutcome): string[] {
  const { counts, unfinished, server, refusals } = outcome;
  const { sent, created, completed, cycles, redelivered, completedTwice, unknown } = counts;
  const problems: string[] = [];
  if (server.longestGapMs > standstillMs) {
    problems.push(`the machine stood still for ${Math.round(server.longestGapMs)} ms`);
  }
  for (const { reason, times } of refusals) problems.push(`${times} times ${reason}`);
  if (sent !== created) problems.push(`${sent - created} creates were never acknowledged`);
  if (unfinished.length > 0) {
    const lost = created - cycles;
    problems.push(`${lost} tasks were created and never completed: ${unfinished.join(", ")}, …`);
  }
  if (completed !== cycles) problems.push(`${completed - cycles} results without a create`);
  if (completedTwice > 0) problems.push(`${completedTwice} tasks were completed twice`);
  if (redelivered > 0) problems.push(`${redelivered} tasks were delivered twice`);
  if (unknown > 0) problems.push(`${unknown} deliveries of tasks that nobody sent`);
  return problems;
}

async function sampleProblems(node: NodeProcess, result: LoadResult): Promise<string[]> {
  const problems: string[] = [];
  for (const { id, task } of result.samples) {
    const found: unknown = JSON.parse(await node.get(`/v1/tasks/${id}`));
    const { state, payload } = found as { state: unknown; payload: unknown };
    const number = numberOf(Buffer.from(JSON.stringify(payload ?? null)), 0);
    if (state !== "completed" || number !== task) {
      problems.push(`task ${id}: ${String(state)}, number ${number} instead of ${task}`);
    }
  }
  if (result.samples.length === 0) problems.push("no task was looked up");
  return problems;
}
