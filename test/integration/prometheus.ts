/** A Prometheus of the test's own, on loopback, that scrapes a node; and the files that users give theirs. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { freePort } from "./process.ts";

/** deploy/prometheus */
export const folder = fileURLToPath(new URL("../../deploy/prometheus", import.meta.url));
const patienceMs = 30_000;

export function isInstalled(program: string): boolean {
  return spawnSync(program, ["--version"]).status === 0;
}

/** @returns what it printed; with its complaint if it did not like the file */
export function promtool(...args: readonly string[]): { ok: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: folder, encoding: "utf8" });
  return { ok: status === 0, output: stdout + stderr };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; w: number; h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

export interface Board {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { name: string; query: unknown }[] };
}

export const board = JSON.parse(readFileSync(join(folder, "grafana-board.json"), "utf8")) as Board;

/** Without the rows that only part them. */
export const panels = board.panels.filter(({ type }) => type !== "row");

/** An expression as Grafana would send it, with everything chosen and a range that holds the whole test. */
export function filledIn(expr: string): string {
  const known = new Set(board.templating.list.map(({ name }) => name));
  return expr
    .replaceAll("$__rate_interval", "1m")
    .replaceAll(/\$(\w+)/g, (all, name) => (known.has(name) ? ".*" : all));
}

export class Prometheus {
  readonly url: string;
  private readonly child: ChildProcess;
  private output = "";

  private constructor(port: number, directory: string) {
    this.url = `http://127.0.0.1:${port}`;
    this.child = spawn("prometheus", [
      `--config.file=${join(directory, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(directory, "tsdb")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    const keep = (text: Buffer) => {
      this.output = (this.output + String(text)).slice(-4096);
    };
    this.child.stdout?.on("data", keep);
    this.child.stderr?.on("data", keep);
  }

  /** Takes the configuration that is shipped, with this target, and scrapes twice a second. */
  static async start(directory: string, target: string): Promise<Prometheus> {
    mkdirSync(directory, { recursive: true });
    const config = parse(readFileSync(join(folder, "prometheus.yaml"), "utf8"));
    config.global = { scrape_interval: "500ms", evaluation_interval: "500ms" };
    config.scrape_configs[0].static_configs[0].targets = [target];
    writeFileSync(join(directory, "prometheus.yaml"), stringify(config));
    cpSync(join(folder, "alerts.yaml"), join(directory, "alerts.yaml"));
    return new Prometheus(await freePort(), directory);
  }

  /** @returns `data` of an answer of its API. @throws Error with what it complains of */
  async get(path: string, query: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(query)}`);
    const { status, data, error } = (await answer.json()) as {
      readonly status: string;
      readonly data: unknown;
      readonly error?: string;
    };
    if (status !== "success") throw new Error(`${path} ${query["query"] ?? ""}: ${error}`);
    return data;
  }

  /** Values of an expression, now; NaN is none. */
  async query(expr: string): Promise<number[]> {
    const { result } = (await this.get("query", { query: expr })) as {
      readonly result: readonly { readonly value: readonly [number, string] }[];
    };
    return result.map(({ value }) => Number(value[1])).filter((value) => !Number.isNaN(value));
  }

  /** Asks until it is so. */
  async until(what: string, look: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      // it does not listen at once
      if (await look().catch(() => false)) return;
      if (this.child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`${what} does not come: ${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exit;
  }
}
