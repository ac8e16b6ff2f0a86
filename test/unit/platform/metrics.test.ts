import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../../src/base/limits.ts";
import { createMetrics } from "../../../src/platform/metrics.ts";
import {
  parseProcStatus,
  readResidentMemory,
  startProcessMetrics,
} from "../../../src/platform/process-metrics.ts";

test("counters, gauges and histograms are rendered with their labels", async () => {
  const metrics = createMetrics();
  const ok = metrics.counter("t_requests_total", "Requests", { class: "2xx" });
  metrics.counter("t_requests_total", "Requests", { class: "5xx" });
  ok.add(2);
  ok.add(3);
  metrics.gauge("t_depth", "Depth").set(7);
  metrics.histogram("t_seconds", "Seconds", [0.1, 1]).observe(0.5);
  const text = await metrics.render();
  assert.match(text, /^t_requests_total\{class="2xx"\} 5$/mu);
  assert.match(text, /^t_requests_total\{class="5xx"\} 0$/mu);
  assert.match(text, /^t_depth 7$/mu);
  assert.match(text, /^t_seconds_bucket\{le="0.1"\} 0$/mu);
  assert.match(text, /^t_seconds_bucket\{le="1"\} 1$/mu);
  assert.match(await metrics.render(), /^t_requests_total\{class="2xx"\} 5$/mu);
});

test("the same name and labels give the same counter", async () => {
  const metrics = createMetrics();
  metrics.counter("t_total", "T", { a: "1" }).add(1);
  metrics.counter("t_total", "T", { a: "1" }).add(1);
  assert.match(await metrics.render(), /^t_total\{a="1"\} 2$/mu);
});

test("a collected gauge shows what its source says now, and nothing old", async () => {
  const metrics = createMetrics();
  let samples = [{ value: 1, labels: { shard: "0" } }];
  metrics.gaugeFrom("t_lag", "Lag", () => samples);
  assert.match(await metrics.render(), /^t_lag\{shard="0"\} 1$/mu);
  samples = [{ value: 2, labels: { shard: "1" } }];
  const text = await metrics.render();
  assert.match(text, /^t_lag\{shard="1"\} 2$/mu);
  assert.doesNotMatch(text, /shard="0"/u);
  samples = [];
  assert.doesNotMatch(await metrics.render(), /shard=/u);
});

test("the number of label sets of one metric is bounded", () => {
  const metrics = createMetrics();
  for (let i = 0; i < limits.metricSeries; i++) metrics.gauge("t", "T", { i: String(i) });
  assert.throws(() => metrics.gauge("t", "T", { i: "one more" }), /series of one metric/u);
});

test("a name is used for one kind of metric only", () => {
  const metrics = createMetrics();
  metrics.gauge("t", "T");
  assert.throws(() => metrics.counter("t", "T"), /one metric has one kind/u);
});

test("resident memory is split into anonymous, shared and mapped", () => {
  const status = "VmRSS:\t   700 kB\nRssAnon:\t     400 kB\nRssFile:\t 250 kB\nRssShmem:\t 50 kB\n";
  assert.deepEqual(parseProcStatus(status), {
    anonymous: 400 * 1024,
    shared: 50 * 1024,
    mappedFiles: 250 * 1024,
  });
  assert.ok(readResidentMemory().anonymous > 1024 * 1024);
});

test("process metrics are rendered, and a blocked event loop shows in them", async () => {
  const metrics = createMetrics();
  const measured = startProcessMetrics(metrics);
  const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 5));
  await turn();
  const started = performance.now();
  while (performance.now() - started < 60);
  await turn();
  assert.ok(measured.loopDelay().maxMs >= 40, `max ${measured.loopDelay().maxMs}`);
  const text = await metrics.render();
  assert.match(text, /^quorumq_event_loop_delay_seconds\{stat="max"\} 0\.\d+/mu);
  assert.match(text, /^quorumq_process_resident_bytes\{kind="anonymous"\} [1-9]/mu);
  assert.match(text, /^quorumq_process_cpu_seconds\{mode="user"\} /mu);
  measured.resetLoopDelay();
  assert.ok(measured.loopDelay().maxMs < 40);
  measured.close();
});
