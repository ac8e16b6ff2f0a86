/** Another client: one create at a time over a kept-alive connection, while something else goes on. */
import { HttpConnection } from "./load/http-connection.ts";
import type { Target } from "./load/protocol.ts";
import { LatencyHistogram, type LatencySummary } from "./measure/histogram.ts";
import { sleep } from "./measure/sleep.ts";

/** Between two creates: the probe itself is no load. */
const pauseMs = 2;
const body = JSON.stringify({ command: "probe", payload: { n: 1 } });

/** Creates tasks for so long, and tells how long each took to be acknowledged. */
export async function probe(target: Target, ms: number): Promise<LatencySummary> {
  const connection = new HttpConnection(target.http, target.token);
  const histogram = new LatencyHistogram();
  const end = performance.now() + ms;
  while (performance.now() < end) {
    const sent = performance.now();
    const status = await new Promise<number>((resolve) => {
      connection.post("/v1/tasks", body, resolve);
    });
    if (status !== 202) throw new Error(`the probe was refused: ${status}`);
    histogram.record((performance.now() - sent) * 1000);
    await sleep(pauseMs);
  }
  connection.close();
  return histogram.summary();
}
