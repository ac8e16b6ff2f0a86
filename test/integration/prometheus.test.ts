/**
 * deploy/prometheus beside a running node: the alert rules with their cases, the configuration and the
 * Grafana board. What needs Debian's `prometheus` is skipped where that is missing.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { createProducer, createWorker } from "../../src/client/index.ts";
import { makeDirectory, type Server, startServer } from "./process.ts";
import {
  board,
  filledIn,
  folder,
  isInstalled,
  Prometheus,
  panels,
  promtool,
} from "./prometheus.ts";

const directory = makeDirectory();
const skip = isInstalled("prometheus") ? false : "prometheus is not installed";
const namePattern = /quorumq_[a-z0-9_]+/g;
let server: Server;
let shown: string;

const metricNames = (text: string) =>
  new Set([...text.matchAll(namePattern)].map(([name]) => name));

before(async () => {
  server = await startServer(join(directory.path, "data"));
  await work();
  shown = await (await fetch(`${server.url}/metrics`)).text();
});
after(async () => {
  server.signal("SIGTERM");
  await server.ended;
  directory.remove();
});

/** An operation of every kind, a task that stays ready, and a request by HTTP. */
async function work(): Promise<void> {
  const connect = { endpoints: `127.0.0.1:${server.ports.grpc}` };
  const producer = createProducer(connect);
  let isDone = (): void => undefined;
  const done = new Promise<void>((resolve) => {
    isDone = resolve;
  });
  const worker = createWorker(connect, {
    queues: ["work"],
    concurrency: 1,
    handler: async (task) => {
      if (task.json() === "last") isDone();
    },
  });
  await worker.start();
  await producer.enqueueMany("work", [1, 2, 3, "last"]);
  await done;
  await worker.stop();
  await producer.enqueue("ready", 1);
  await producer.close();
  assert.equal((await fetch(`${server.url}/v1/admin/queues`)).status, 200);
}

interface AlertCases {
  readonly tests: readonly {
    readonly alert_rule_test: readonly {
      readonly alertname: string;
      readonly exp_alerts?: readonly unknown[];
    }[];
  }[];
}

describe("alert rules", () => {
  const { groups } = parse(readFileSync(join(folder, "alerts.yaml"), "utf8")) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
  };
  const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));

  test("have a case in which they fire and one in which they do not", () => {
    const { tests } = parse(readFileSync(join(folder, "alerts-test.yaml"), "utf8")) as AlertCases;
    const cases = tests.flatMap((one) => one.alert_rule_test);
    const namesOf = (fires: boolean) =>
      new Set(
        cases
          .filter(({ exp_alerts: expected = [] }) => expected.length > 0 === fires)
          .map(({ alertname }) => alertname),
      );
    assert.deepEqual([...namesOf(true)].sort(), [...alerts].sort());
    assert.deepEqual([...namesOf(false)].sort(), [...alerts].sort());
  });

  test("hold in these cases", { skip }, () => {
    const { ok, output } = promtool("test", "rules", "alerts-test.yaml");
    assert.ok(ok, output);
  });

  test("and the configuration are such as Prometheus takes", { skip }, () => {
    const { ok, output } = promtool("check", "config", "prometheus.yaml");
    assert.ok(ok, output);
    assert.match(output, new RegExp(`${alerts.length} rules found`));
  });
});

describe("the Grafana board", () => {
  test("is of a version that Grafana 10 and later take, every panel in a place of its own", () => {
    assert.ok(board.schemaVersion >= 36 && board.schemaVersion <= 38);
    const ids = board.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const taken = new Set<string>();
    for (const { title, gridPos } of board.panels) {
      const { x, y, w, h } = gridPos;
      assert.ok(x >= 0 && x + w <= 24, title);
      for (let i = x; i < x + w; i++) {
        for (let j = y; j < y + h; j++) {
          assert.ok(!taken.has(`${i},${j}`), `${title} lies on another panel`);
          taken.add(`${i},${j}`);
        }
      }
    }
  });

  test("tells of every panel what it shows, and in which unit", () => {
    for (const { title, description = "", fieldConfig, targets = [] } of panels) {
      assert.ok(description.length > 10, title);
      assert.ok(fieldConfig?.defaults.unit, title);
      assert.ok(targets.length > 0, title);
    }
  });

  test("asks for metrics that a node shows, and for all of them", () => {
    const asked = metricNames(JSON.stringify(board));
    for (const name of asked) assert.match(shown, new RegExp(`^${name}[ {]`, "m"));
    const families = [...shown.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1] ?? "");
    assert.ok(families.length > 20);
    const isAsked = (family: string) => [...asked].some((name) => name.startsWith(family));
    assert.deepEqual(
      families.filter((family) => !isAsked(family)),
      [],
    );
  });

  test("names the alerts that are there", () => {
    const rules = readFileSync(join(folder, "alerts.yaml"), "utf8");
    for (const [name] of JSON.stringify(board).matchAll(/QuorumQ[A-Z]\w+/g)) {
      assert.match(rules, new RegExp(`alert: ${name}$`, "m"));
    }
  });
});

describe("a Prometheus that scrapes a node", { skip }, () => {
  let prometheus: Prometheus;

  before(async () => {
    const target = `127.0.0.1:${server.ports.metrics}`;
    prometheus = await Prometheus.start(join(directory.path, "prometheus"), target);
    // the work again, so that there is something to rate
    await prometheus.until(
      "a scrape",
      async () => (await prometheus.query("up == 1")).length === 1,
    );
    await work();
  });
  after(() => prometheus.stop());

  test("has a value for every expression of the board", async () => {
    for (const { title, targets = [] } of panels) {
      for (const { expr, refId } of targets) {
        const query = filledIn(expr);
        assert.doesNotMatch(query, /\$/, `${title}: an unknown variable`);
        const hasValues = async () => (await prometheus.query(query)).length > 0;
        await prometheus.get("query", { query }); // one that cannot be asked says why
        await prometheus.until(`${title} ${refId}: ${query}`, hasValues);
      }
    }
  });

  test("evaluates every alert, and none fires", async () => {
    interface Rule {
      readonly name: string;
      readonly health: string;
      readonly state: string;
      readonly lastError?: string;
    }
    const rulesNow = async () => {
      const { groups } = (await prometheus.get("rules")) as {
        readonly groups: readonly { readonly rules: readonly Rule[] }[];
      };
      return groups.flatMap(({ rules }) => rules);
    };
    await prometheus.until("the evaluation", async () =>
      (await rulesNow()).every(({ health }) => health !== "unknown"),
    );
    const rules = await rulesNow();
    assert.ok(rules.length > 8);
    assert.deepEqual(
      rules.filter(({ health }) => health !== "ok").map(({ name, lastError }) => [name, lastError]),
      [],
    );
    assert.deepEqual(
      rules.filter(({ state }) => state === "firing").map(({ name }) => name),
      [],
    );
  });

  test("finds nothing to complain of in the node's exposition", async () => {
    const { activeTargets } = (await prometheus.get("targets")) as {
      readonly activeTargets: readonly { readonly lastError: string; readonly health: string }[];
    };
    assert.deepEqual(
      activeTargets.map(({ health, lastError }) => [health, lastError]),
      [["up", ""]],
    );
  });
});
