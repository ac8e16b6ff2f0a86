/** How `top` looks to people. */
import type { Cell } from "../output.ts";
import type { Session } from "../session.ts";
import { queueHead, queueRow } from "./queue.ts";
import { type NodeLoad, operations, type View } from "./top-observer.ts";

const nodeHead = [
  "NODE",
  "LEADS",
  "CREATE/S",
  "CLAIM/S",
  "SETTLE/S",
  "CREATE P50/P99",
  "SETTLE P50/P99",
  "SYNC P99",
  "CPU",
  "MEMORY",
  "LOOP P99",
  "STREAMS",
  "WAITING",
];

/** @param rows - queues to show */
export function viewLines(session: Session, view: View, rows: number): readonly string[] {
  const { output, terminal } = session;
  const total = (op: (typeof operations)[number]): number =>
    view.nodes.reduce((sum, { perSecond }) => sum + (perSecond[op] || 0), 0);
  const rates = operations.map((op) => `${op} ${Math.round(total(op))}/s`).join("  ");
  const shown = view.queues.slice(0, rows);
  const more = view.queues.length - shown.length;
  return [
    `${terminal.style("bold", "quorumq top")}  ${view.at}  ${rates}`,
    "",
    output.table(nodeHead, view.nodes.map(nodeRow)),
    "",
    ...(shown.length > 0 ? [output.table(queueHead, shown.map(queueRow))] : ["no queues"]),
    ...(more > 0 ? [terminal.style("dim", `${more} more queues`)] : []),
    ...(view.note === undefined ? [] : [terminal.style("dim", view.note)]),
  ];
}

function nodeRow(node: NodeLoad): readonly Cell[] {
  const { perSecond, p50Ms, p99Ms } = node;
  return [
    node.isReachable ? node.id : `${node.id} (away)`,
    node.shardsLed,
    ...operations.map((op) => whole(perSecond[op])),
    `${ms(p50Ms.create)}/${ms(p99Ms.create)}`,
    `${ms(p50Ms.settle)}/${ms(p99Ms.settle)}`,
    ms(node.syncP99Ms),
    Number.isNaN(node.cpuPercent) ? "-" : `${Math.round(node.cpuPercent)} %`,
    Number.isNaN(node.residentBytes) ? "-" : `${Math.round(node.residentBytes / 2 ** 20)} MiB`,
    ms(node.loopDelayP99Ms),
    whole(node.streams),
    whole(node.waitingClaims),
  ];
}

function whole(value: number): string {
  return Number.isNaN(value) ? "-" : String(Math.round(value));
}

function ms(value: number): string {
  if (Number.isNaN(value)) return "-";
  return value >= 10 ? `${Math.round(value)} ms` : `${Number(value.toPrecision(2))} ms`;
}
