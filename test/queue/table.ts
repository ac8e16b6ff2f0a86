/**
 * Tables: one row per command with its result, `command -> result`, in files under tables/.
 *
 *   == name                      a case: an empty shard at time 0
 *   @1500 create a q=mail n=2    time goes on to 1500 ms; run `a` of two tasks: a.0 and a.1
 *   claim q=mail count=2         -> a.0#1 a.1#1 T1 until 301500   (#attempt, token, end of lease)
 *   complete a.0 token=T1 result=x
 *   show a.0 | counts q=mail | checkpoint | crash
 *
 * Labels in lower case are runs, in upper case tasks with an idempotency key. Keys sort as labels do.
 */
import { type ErrorCode, errorCodes } from "../../src/base/errors.ts";
import { type BackoffPolicy, backoffPolicies, type Settings } from "../../src/queue/command.ts";
import { col, taskState } from "../../src/queue/run.ts";
import { defaultSettings } from "../../src/queue/state.ts";
import { Engine, type EngineOptions, stateNames } from "./engine.ts";
import { Model } from "./model.ts";
import type { Op, Outcome, SettleItem, SettleOp, TaskName } from "./ops.ts";
import { runKeyOf } from "./ops.ts";

/** Time 0 of a case: on a full minute, as retention ends on one. */
const epochMs = 1_800_000_000_000;
/** Default lease of SPEC section 2. */
const leaseMs = 300_000;

export interface TableCase {
  readonly name: string;
  readonly rows: readonly string[];
}

export function parseTable(text: string): TableCase[] {
  const cases: { name: string; rows: string[] }[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("== ")) cases.push({ name: line.slice(3), rows: [] });
    else if (line.trim() !== "" && !line.startsWith("#")) cases.at(-1)?.rows.push(line);
  }
  return cases;
}

interface Row {
  readonly verb: string;
  readonly names: readonly string[];
  readonly options: ReadonlyMap<string, string>;
}

function parseRow(text: string): Row {
  const [verb = "", ...words] = text.split(/ +/);
  const options = new Map<string, string>();
  const names: string[] = [];
  for (const word of words) {
    const at = word.indexOf("=");
    if (at > 0) options.set(word.slice(0, at), word.slice(at + 1));
    else names.push(word);
  }
  return { verb, names, options };
}

/** Plays a case and gives what each row's result is; the model must agree with every one. */
export class TablePlayer {
  private readonly engine: Engine;
  private readonly model = new Model();
  private readonly tokens: number[] = [];
  private readonly labels = new Map<string, string>();
  private readonly everyRowStored: boolean;
  private now = 0;

  /** @param everyRowStored - checkpoint, forget everything and read it back before every row */
  constructor(options: EngineOptions, everyRowStored: boolean) {
    this.engine = new Engine(options);
    this.everyRowStored = everyRowStored;
  }

  /** @returns the result as text; where the model differs, both */
  async play(text: string): Promise<string> {
    let command = text;
    const timed = /^@(\d+) (.*)$/.exec(text);
    if (timed) {
      this.now = Number(timed[1]);
      command = timed[2] as string;
    }
    if (this.everyRowStored) {
      this.engine.checkpoint();
      await this.engine.crash(false);
    }
    const row = parseRow(command);
    const own = await this.playOwn(row);
    if (own !== null) return own;
    const op = this.toOp(row);
    const time = epochMs + this.now;
    const [outcome] = await this.engine.run(time, [op]);
    this.engine.check();
    const wanted = this.model.apply(op, time, this.engine.index, 0);
    const got = this.format(outcome as Outcome, row);
    const want = this.format(wanted, row);
    return got === want ? got : `${got} BUT THE MODEL SAYS ${want}`;
  }

  /** Rows that are not commands. */
  private async playOwn(row: Row): Promise<string | null> {
    switch (row.verb) {
      case "checkpoint":
        this.engine.checkpoint();
        return "done";
      case "crash":
        await this.engine.crash(false);
        return "done";
      case "show":
        return row.names.map((name) => this.show(this.task(name))).join(" | ");
      case "counts": {
        const counts = this.engine.counts(this.tenant(row), row.options.get("q") ?? "mail");
        const shown = Object.entries(counts).filter(([, count]) => count !== 0);
        return shown.map(([state, count]) => `${state}=${count}`).join(" ") || "empty";
      }
      default:
        return null;
    }
  }

  private tenant(row: Row): string {
    return row.options.get("tenant") ?? "acme";
  }

  private key(label: string): string {
    const keyed = label !== label.toLowerCase();
    const key = runKeyOf(label.charCodeAt(0) - 32, keyed);
    this.labels.set(key, label);
    return key;
  }

  private task(name: string): TaskName {
    const [label = "", place = "0"] = name.split(".");
    return { key: this.key(label), place: Number(place) };
  }

  private token(text: string | undefined): number {
    if (text === undefined || text === "none") return 0;
    return this.tokens[Number(text.slice(1)) - 1] ?? 1;
  }

  private toOp(row: Row): Op {
    const { verb, names, options } = row;
    const tenant = this.tenant(row);
    const queue = options.get("q") ?? "mail";
    const number = (name: string, otherwise: number) => Number(options.get(name) ?? otherwise);
    const ids = names.map((name) => this.task(name));
    const worker = options.get("worker") ?? "w";
    switch (verb) {
      case "create":
        return this.createOp(row, tenant, queue);
      case "claim": {
        const queues = queue === "*" ? null : queue.split(",");
        const bytesMax = number("bytes", 3_500_000);
        const claim = { count: number("count", 1), leaseMs: number("lease", leaseMs), bytesMax };
        return { kind: "claim", tenant, queues, worker, ...claim };
      }
      case "cancel":
        return { kind: "cancel", tenant, ...(ids[0] as TaskName) };
      case "expire":
        return { kind: "expire", limit: number("limit", 1000) };
      case "redrive":
        return { kind: "redrive", tenant, queue, ids, limit: number("limit", 1000) };
      case "purge":
        return { kind: "purge", tenant, queue, ids, states: statesOf(options.get("states")) };
      case "pause":
      case "resume":
        return { kind: "pause", tenant, queue, paused: verb === "pause" };
      case "raiseTokens":
        return { kind: "raiseTokens" };
      case "configure":
        return { kind: "configure", settings: settingsOf(options) };
      default: {
        const ms = number("ms", verb === "nack" ? -1 : 0);
        const token = this.token(options.get("token"));
        const result = options.get("result") ?? null;
        const error = options.get("error") ?? "";
        const op = verb as SettleOp;
        const items: SettleItem[] = ids.map((id) => ({ ...id, op, token, ms, result, error }));
        return { kind: "settle", tenant, worker, items };
      }
    }
  }

  private createOp(row: Row, tenant: string, queue: string): Op {
    const { options } = row;
    const number = (name: string, otherwise: number) => Number(options.get(name) ?? otherwise);
    const runAt = options.get("runAt");
    const task = {
      payload: options.get("payload") ?? "{}",
      max: number("max", 5),
      delayMs: number("delay", 0),
      runAtMs: runAt === undefined ? 0 : epochMs + Number(runAt),
    };
    const hash = options.get("hash")?.padEnd(16) ?? null;
    const tasks = Array.from({ length: number("n", 1) }, () => task);
    const key = this.key(row.names[0] as string);
    const priority = number("prio", 0);
    return { kind: "create", tenant, queue, priority, key, hash, tasks };
  }

  private tokenName(token: number): string {
    const at = this.tokens.indexOf(token);
    return `T${at < 0 ? this.tokens.push(token) : at + 1}`;
  }

  private nameOf(task: TaskName): string {
    const label = this.labels.get(task.key) ?? "?";
    return label === label.toLowerCase() ? `${label}.${task.place}` : label;
  }

  private format(outcome: Outcome, row: Row): string {
    switch (outcome.kind) {
      case "created": {
        if (outcome.code !== 0) return codeName(outcome.code);
        if (outcome.duplicate) return `duplicate of ${outcome.createdAt - epochMs}`;
        const times = outcome.runAt?.map((time) => (time === 0 ? "now" : time - epochMs));
        return times ? `ok at ${times.join(" ")}` : "ok";
      }
      case "claimed": {
        const [first] = outcome.grants;
        if (!first) return "none";
        const grants = outcome.grants.map((grant) => `${this.nameOf(grant)}#${grant.attempt}`);
        const until = first.until - epochMs;
        return `${grants.join(" ")} ${this.tokenName(first.token)} until ${until}`;
      }
      case "settled":
        return outcome.items
          .map(({ code, time, dead }) => settled(row.verb, code, time, dead))
          .join(", ");
      case "canceled": {
        if (outcome.code !== 0) return codeName(outcome.code);
        return outcome.token === 0 ? "ok" : `ok ${this.tokenName(outcome.token)} ${outcome.worker}`;
      }
      case "expired":
        return outcome.more ? `${outcome.count} and more` : `${outcome.count}`;
      case "redriven":
      case "purged":
        return `${outcome.count}`;
      case "paused":
        return outcome.paused ? "paused" : "open";
      case "done":
        return "done";
    }
  }

  private show(name: TaskName): string {
    const run = this.engine.peek(name.key);
    const state = run?.get(col.STATE, name.place) ?? taskState.removed;
    if (!run || state === taskState.removed) return "gone";
    const words = [stateNames[state], `attempts=${run.get(col.ATTEMPTS, name.place)}`];
    const due = run.get(col.DUE, name.place);
    if (due > 0) words.push(`due=${due - epochMs}`);
    if (run.workerOf(name.place) !== "") words.push(`worker=${run.workerOf(name.place)}`);
    const trace = this.engine.trace(run, name.place);
    if (trace) words.push(trace.op);
    if (trace?.result != null) words.push(`result=${trace.result}`);
    if (trace?.error) words.push(`error=${trace.error}`);
    return words.join(" ");
  }
}

function settled(op: string, code: number, time: number, dead: number): string {
  if (code !== 0) return codeName(code);
  if (dead === 1) return "dead";
  if (op === "nack") return `delay ${time}`;
  if (op === "heartbeat") return `until ${time - epochMs}`;
  return time === 0 ? "ok" : `ok ${time - epochMs}`;
}

function codeName(code: number): string {
  const codes = Object.keys(errorCodes) as ErrorCode[];
  return codes.find((name) => errorCodes[name].number === code) ?? `code ${code}`;
}

function statesOf(text = "delayed,ready,leased,completed,failed,dead,canceled"): number {
  return text.split(",").reduce((bits, name) => bits | (1 << stateNames.indexOf(name)), 0);
}

function settingsOf(options: ReadonlyMap<string, string>): Settings {
  const number = (name: string, otherwise: number) => Number(options.get(name) ?? otherwise);
  const backoff = options.get("backoff") as BackoffPolicy | undefined;
  return {
    backoffPolicy: backoffPolicies.find((name) => name === backoff) ?? "exp_full_jitter",
    backoffBaseMs: number("base", defaultSettings.backoffBaseMs),
    backoffMaxMs: number("cap", defaultSettings.backoffMaxMs),
    doneRetentionMs: number("done", defaultSettings.doneRetentionMs),
    deadRetentionMs: number("dead", defaultSettings.deadRetentionMs),
  };
}
