/**
 * The results of `bench:peers` as a picture: a panel per size of cluster, a bar per rival, and beside it
 * the rate and when a task was safe. The same results give the same bytes.
 */
import { parse, type Spec, View } from "vega";
import type { Machine } from "../measure/machine.ts";
import type { Summary } from "../peers/contest.ts";

/** What one run of `bench:peers` left; who has no median is left out. */
export interface PeerResults extends Summary {
  /** ISO 8601 */
  readonly date: string;
  readonly machine: Machine;
}

interface Row {
  readonly title: string;
  readonly rate: number;
  readonly text: string;
  readonly kind: "ours" | "synced" | "later";
}

const width = 460;
const rowHeight = 26;
/** For the title above a panel, and for the axis and what is said below it. */
const headHeight = 52;
const footHeight = 66;
const footLine = 14;
/** For what stands behind the longest bar. */
const textWidth = 260;
const font = { size: { value: 12 }, color: { value: "#24292f" }, weak: { value: "#57606a" } };
const colors = { ours: "#0b6e4f", synced: "#57606a", later: "#b8c0c8" } as const;

/** @param panels - from above; each takes its heading from its number of nodes */
export async function drawPeers(panels: readonly PeerResults[]): Promise<string> {
  const view = new View(parse(specOf(panels)), { renderer: "none" });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

function specOf(panels: readonly PeerResults[]): Spec {
  const groups: NonNullable<Spec["marks"]> = [];
  const data: NonNullable<Spec["data"]> = [];
  let y = 0;
  for (const [i, panel] of panels.entries()) {
    const rows = rowsOf(panel);
    const source = `panel${i}`;
    data.push({ name: source, values: [...rows] });
    const height = rows.length * rowHeight;
    groups.push(panelOf(panel, source, { y: y + headHeight, height }));
    y += headHeight + height + footHeight;
  }
  return {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    description: panels.map(describe).join("; "),
    background: "white",
    padding: 12,
    width: width + textWidth,
    height: y,
    autosize: "pad",
    data,
    marks: groups,
  };
}

function panelOf(
  panel: PeerResults,
  source: string,
  place: { readonly y: number; readonly height: number },
): NonNullable<Spec["marks"]>[number] {
  const x = { scale: "x", field: "rate" };
  const middle = { scale: "y", field: "title", band: 0.5 };
  return {
    type: "group",
    encode: {
      enter: { y: { value: place.y }, width: { value: width }, height: { value: place.height } },
    },
    // what axes take for the length of their grid
    signals: [{ name: "height", init: String(place.height) }],
    title: {
      text: headingOf(panel),
      subtitle: "tasks created, claimed and completed a second; 14 B, batches of 128",
      anchor: "start",
      subtitleColor: font.weak.value,
    },
    scales: [
      {
        name: "x",
        type: "linear",
        domain: { data: source, field: "rate" },
        range: [0, width],
        nice: 5,
        zero: true,
      },
      {
        name: "y",
        type: "band",
        domain: { data: source, field: "title" },
        range: [0, place.height],
        padding: 0.25,
      },
    ],
    axes: [
      { orient: "left", scale: "y", ticks: false, domain: false, labelFontSize: 12, labelLimit: 0 },
      { orient: "bottom", scale: "x", format: ",.0f", tickCount: 5, grid: true },
    ],
    marks: [
      {
        type: "rect",
        from: { data: source },
        encode: {
          enter: {
            x: { scale: "x", value: 0 },
            x2: x,
            y: { scale: "y", field: "title" },
            height: { scale: "y", band: 1 },
            fill: { field: "color" },
          },
        },
      },
      {
        type: "text",
        from: { data: source },
        encode: {
          enter: {
            x: { ...x, offset: 6 },
            y: middle,
            baseline: { value: "middle" },
            fontSize: font.size,
            fill: font.color,
            text: { field: "text" },
          },
        },
      },
      ...footOf(panel, place.height),
    ],
  };
}

/** On what and beside what it was measured, below the axis. */
function footOf(panel: PeerResults, height: number): NonNullable<Spec["marks"]> {
  const { cpu, cores, kernel, node, fsyncMs } = panel.machine;
  const disk = `fsync ${fsyncMs.toFixed(2)} ms`;
  const lines = [
    `${panel.date.slice(0, 10)}, ${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, ${disk}`,
    panel.versions.join(", "),
  ];
  return lines.map((text, i) => ({
    type: "text",
    encode: {
      enter: {
        x: { value: 0 },
        y: { value: height + 34 + i * footLine },
        fontSize: { value: 10 },
        fill: font.weak,
        text: { value: text },
      },
    },
  }));
}

function rowsOf({ standings }: PeerResults): (Row & { readonly color: string })[] {
  return standings.flatMap(({ title, durability, median }, i) => {
    if (median === null) return [];
    const isSynced = /^fsync (?:before|on a majority)/u.test(durability);
    const kind = i === 0 ? "ours" : isSynced ? "synced" : "later";
    const rate = Math.round(median);
    const text = `${rate.toLocaleString("en")} · ${durability}`;
    return [{ title, rate, text, kind, color: colors[kind] }];
  });
}

function headingOf({ nodes, isQuick }: PeerResults): string {
  const size = nodes === 1 ? "One node" : `A cluster of ${nodes} on one machine`;
  return isQuick ? `${size} (short runs)` : size;
}

function describe(panel: PeerResults): string {
  const rows = rowsOf(panel).map(({ title, text }) => `${title}: ${text}`);
  return `${headingOf(panel)}: ${rows.join(", ")}`;
}
