/** Many who are connected and do nothing: what they cost the node, and what others notice of them. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { runLoad } from "../load-process.ts";
import type { Measurement } from "../measurement.ts";
import { queue } from "../plans.ts";
import { probe } from "../probe.ts";
import { type BenchContext, durabilityText, runOptions, withNode } from "./scenario.ts";

const connections = 10_000;
const workers = 1_000;
const openingMax = 100;
const probeMs = { quick: 5_000, full: 20_000 };
/** The connections are opened and the probe runs while the streams wait. */
const openMs = 15_000;

export async function* crowd(context: BenchContext): AsyncGenerator<Measurement> {
  const ms = context.options.isQuick ? probeMs.quick : probeMs.full;
  yield await withNode(context, {}, async (node) => {
    await probe(node.target, ms / 2);
    const alone = await probe(node.target, ms);
    const waiting = runLoad(
      { kind: "wait", target: node.target, queue, workers, measureMs: openMs + ms },
      runOptions(context, node),
    );
    const sockets = await openIdle(new URL(node.target.http));
    const beside = await probe(node.target, ms);
    const open = sockets.filter((socket) => !socket.destroyed).length;
    const { server } = await waiting;
    for (const socket of sockets) socket.destroy();
    return {
      scenario: "crowd",
      label: `${connections} idle HTTP connections and ${workers} idle streams`,
      durability: durabilityText(context),
      figures: {
        rssMax: server.rssMax,
        p99MsAlone: alone.p99Ms,
        p99MsBeside: beside.p99Ms,
        p50MsAlone: alone.p50Ms,
        p50MsBeside: beside.p50Ms,
      },
      bars: [
        { what: "RSS", value: server.rssMax / 1e6, limit: 400, direction: "at most", unit: "MB" },
        {
          what: "p99 of another client",
          value: beside.p99Ms / alone.p99Ms,
          limit: 2,
          direction: "at most",
          unit: "times what it is alone",
        },
      ],
      problems: open === connections ? [] : [`${connections - open} connections were closed`],
      configuration: { connections, workers },
    };
  });
}

/** Connections that have had one answer and say no more. */
async function openIdle(url: URL): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < connections) {
    const opening = Array.from({ length: openingMax }, async () => {
      const socket = connect(Number(url.port), url.hostname);
      socket.on("error", () => undefined);
      socket.write("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
      await once(socket, "data");
      return socket;
    });
    sockets.push(...(await Promise.all(opening)));
  }
  return sockets;
}
