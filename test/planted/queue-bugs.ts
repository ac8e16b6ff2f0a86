/** Bugs of the queue and of its clockwork, after a change of leaders too (see bugs.ts). */
import type { Planted } from "./planted.ts";

const shard = "src/shard";
const queue = "src/queue";

export const queueBugs: readonly Planted[] = [
  {
    id: "B52",
    what: "a leader that lost a step of its clockwork takes no other one when it leads again",
    file: `${shard}/timekeeper.ts`,
    find: "{ done: over, failed: over }",
    put: "{ done: over, failed: () => undefined }",
  },
  {
    id: "B52b",
    what: "what waits for its time is not looked for in the store after a start",
    file: `${queue}/state.ts`,
    find: "    this.due = new DueIndex(prefixes.due, empty);\n",
    put: "    this.due = new DueIndex(prefixes.due, empty || prefixes.due.length > 0);\n",
  },
  {
    id: "B53",
    what: "who waits for an entry of a lost leadership is never answered",
    file: `${shard}/proposals.ts`,
    find: "      if (proposal.term > term) continue;\n",
    put: "      if (proposal.term >= term) continue;\n",
  },
  {
    id: "B56",
    what: "a key that comes again with another body gets the first one's answer",
    file: `${queue}/create.ts`,
    find: "    run.requestHash?.equals(command.requestHash) === true &&\n",
    put: "    run.requestHash !== null &&\n",
    world: "node",
  },
  {
    id: "B57",
    what: "a task that becomes ready is still counted as delayed",
    file: `${queue}/expire.ts`,
    find: "    if (current === taskState.delayed) {\n      run.queue.delayed--;\n",
    put: "    if (current === taskState.delayed) {\n",
  },
  {
    id: "B58",
    what: "retention takes what is not ended",
    file: `${queue}/expire.ts`,
    find: "    if (run.get(col.DUE, i) === due && isEnded(run.get(col.STATE, i))) removeTask(state, run, i);\n",
    put: "    if (run.get(col.DUE, i) === due || !isEnded(run.get(col.STATE, i))) removeTask(state, run, i);\n",
    world: "node",
  },
  {
    id: "B58b",
    what: "ended tasks are never removed",
    file: `${queue}/expire.ts`,
    find: "  if (plan.needs.length === 0 && !plan.more) {\n",
    put: "  if (plan.needs.length > 0) {\n",
    world: "node",
  },
];
