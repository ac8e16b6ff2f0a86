/** `quorumq enqueue`: one task from the command line, a file or standard input, or one a line. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { limits } from "../../base/limits.ts";
import type { EnqueueOptions } from "../../client/producer.ts";
import { createProducer, type Producer } from "../../client/producer.ts";
import { parseCount, parseQueue, parseSeconds } from "../connection.ts";
import { CliError, cliExitCodes, dataError, usageError } from "../exit-codes.ts";
import { jsonBytes, readInput } from "../inputs.ts";
import { createProgress } from "../progress.ts";
import type { Session } from "../session.ts";
import { waitForResult } from "./wait.ts";

export interface EnqueueFlags {
  readonly file?: string;
  readonly lines?: boolean;
  readonly raw?: boolean;
  readonly ids?: boolean;
  readonly priority?: string;
  readonly delay?: string;
  readonly runAt?: string;
  readonly maxAttempts?: string;
  readonly key?: string;
  readonly traceParent?: string;
  readonly wait?: string;
}

const delaySecondsMax = limits.delaySecondsMax;
const linesPerCall = 500;
/** Calls under way, each of `linesPerCall` lines: what is read ahead of the answers. */
const callsMax = 16;
/** Refused lines told one by one; beyond them only their number. */
const refusalsMax = 1000;

/** @returns the exit code */
export async function runEnqueue(
  session: Session,
  args: { readonly queue: string; readonly payload: string | undefined },
  flags: EnqueueFlags,
): Promise<number> {
  const queue = parseQueue(args.queue);
  const options = optionsOf(flags);
  if (flags.lines === true) {
    if (args.payload !== undefined) throw usageError("payload: not with --lines");
    if (flags.key !== undefined) throw usageError("--key: not with --lines, it names one task");
    if (flags.wait !== undefined) throw usageError("--wait: not with --lines");
    return enqueueLines(session, { queue, options, flags });
  }
  const payload = await payloadOf(session, args.payload, flags);
  return enqueueOne(session, { queue, payload, options, flags });
}

function optionsOf(flags: EnqueueFlags): EnqueueOptions {
  const { priority, delay, runAt, maxAttempts, key, traceParent } = flags;
  const runAtMs = runAt === undefined ? undefined : Date.parse(runAt);
  if (runAtMs !== undefined && !(runAtMs >= 0)) throw usageError("--run-at: a time, RFC 3339");
  return {
    ...(priority !== undefined && {
      priority: parseCount("--priority", priority, { least: 0, most: 9 }),
    }),
    ...(delay !== undefined && {
      delaySeconds: parseSeconds("--delay", delay, { least: 0, most: delaySecondsMax }),
    }),
    ...(runAtMs !== undefined && { runAt: runAtMs }),
    ...(maxAttempts !== undefined && {
      maxAttempts: parseCount("--max-attempts", maxAttempts, { least: 1, most: 1000 }),
    }),
    ...(key !== undefined && { idempotencyKey: key }),
    ...(traceParent !== undefined && { traceParent }),
  };
}

async function payloadOf(
  session: Session,
  given: string | undefined,
  flags: EnqueueFlags,
): Promise<Buffer> {
  const { terminal } = session;
  if (given !== undefined && flags.file !== undefined) {
    throw usageError("payload: give it once, as an argument or by --file");
  }
  if (given === undefined && flags.file === undefined && terminal.stdin.isTTY === true) {
    throw usageError("payload: missing; give JSON, --file <path>, or pipe it in");
  }
  if (given !== undefined)
    return flags.raw === true ? Buffer.from(given) : jsonBytes(given, "payload");
  const bytes = await readInput(terminal, flags.file ?? "-");
  return flags.raw === true ? bytes : jsonBytes(bytes.toString("utf8"), "payload");
}

async function enqueueOne(
  session: Session,
  task: { queue: string; payload: Buffer; options: EnqueueOptions; flags: EnqueueFlags },
): Promise<number> {
  const waitSeconds =
    task.flags.wait === undefined
      ? null
      : parseSeconds("--wait", task.flags.wait, { least: 0, most: 86_400 });
  const producer = await connect(session);
  try {
    const { id, duplicate } = await producer.enqueue(task.queue, task.payload, task.options);
    if (waitSeconds === null) {
      session.output.answer({ id, queue: task.queue, duplicate }, () => [id]);
      return cliExitCodes.ok;
    }
    return await waitForResult(session, { id, duplicate, waitSeconds });
  } finally {
    await producer.close();
  }
}

async function connect(session: Session): Promise<Producer> {
  const { grpc, token, timeoutMs } = await session.connection();
  return createProducer({ endpoints: grpc, token, effects: session.effects }, { timeoutMs });
}

interface LinesJob {
  readonly queue: string;
  readonly options: EnqueueOptions;
  readonly flags: EnqueueFlags;
}

interface Refusal {
  readonly line: number;
  readonly error: string;
  readonly code: string;
}

async function enqueueLines(session: Session, job: LinesJob): Promise<number> {
  const source = await openLines(session, job.flags.file ?? "-");
  const producer = await connect(session);
  const lines = new LineSender(session, producer, job);
  const progress = createProgress(session, { label: "enqueue", total: source.bytes });
  let isCut = false;
  session.terminal.onSignal(() => {
    isCut = true;
    source.stream.destroy();
  });
  try {
    const reader = createInterface({ input: source.stream, crlfDelay: Number.POSITIVE_INFINITY });
    let bytes = 0;
    for await (const line of reader) {
      if (isCut) break;
      bytes += Buffer.byteLength(line) + 1;
      await lines.add(line);
      progress.update(bytes, { tasks: lines.created });
    }
    await lines.finish();
  } finally {
    progress.stop();
    await producer.close();
  }
  lines.report();
  if (isCut) return cliExitCodes.interrupted;
  return lines.refused === 0 ? cliExitCodes.ok : cliExitCodes.data;
}

async function openLines(
  session: Session,
  path: string,
): Promise<{
  readonly stream: NodeJS.ReadableStream & { destroy(): void };
  readonly bytes: number;
}> {
  if (path === "-") return { stream: session.terminal.stdin, bytes: 0 };
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) throw new Error("is a directory");
    return { stream: createReadStream(path), bytes: stats.isFile() ? stats.size : 0 };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(cliExitCodes.noInput, "no_input", `${path}: ${reason}`);
  }
}

/** Sends lines in calls of a bounded size, a bounded number at a time, and keeps count. */
class LineSender {
  created = 0;
  duplicates = 0;
  refused = 0;
  private readonly session: Session;
  private readonly producer: Producer;
  private readonly job: LinesJob;
  private readonly refusals: Refusal[] = [];
  private readonly calls = new Set<Promise<void>>();
  private failure: unknown = null;
  private payloads: Buffer[] = [];
  private places: number[] = [];
  private bytes = 0;
  private line = 0;

  constructor(session: Session, producer: Producer, job: LinesJob) {
    this.session = session;
    this.producer = producer;
    this.job = job;
  }

  async add(text: string): Promise<void> {
    this.line++;
    if (text.trim() === "") return;
    try {
      if (text.length > limits.payloadBytesMax) throw dataError("payload: too large");
      const isRaw = this.job.flags.raw === true;
      this.payloads.push(isRaw ? Buffer.from(text) : jsonBytes(text, "payload"));
      this.places.push(this.line);
      this.bytes += text.length;
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      this.refuse({ line: this.line, error: error.message, code: error.code });
    }
    if (this.payloads.length < linesPerCall && this.bytes < limits.payloadBytesMax) return;
    this.send();
    while (this.calls.size >= callsMax) await Promise.race(this.calls);
    if (this.failure !== null) throw this.failure;
  }

  async finish(): Promise<void> {
    this.send();
    await Promise.all(this.calls);
    if (this.failure !== null) throw this.failure;
  }

  report(): void {
    const { created, duplicates, refused, refusals } = this;
    this.session.output.answer({ created, duplicates, refused, refusals }, () => []);
    if (!this.session.output.isJson) {
      const tail = refused > 0 ? `, ${refused} refused` : "";
      this.session.terminal.note(`${created} created${tail}`);
    }
  }

  private send(): void {
    const { payloads, places } = this;
    if (payloads.length === 0) return;
    this.payloads = [];
    this.places = [];
    this.bytes = 0;
    const call = this.sendCall(payloads, places)
      .catch((error: unknown) => {
        this.failure ??= error;
      })
      .finally(() => this.calls.delete(call));
    this.calls.add(call);
  }

  private async sendCall(payloads: readonly Buffer[], places: readonly number[]): Promise<void> {
    const { queue, options } = this.job;
    const outcomes = await this.producer.enqueueMany(queue, payloads, options);
    outcomes.forEach((outcome, i) => {
      if (outcome.kind === "created") {
        this.created++;
        if (outcome.duplicate) this.duplicates++;
        if (this.job.flags.ids === true && !this.session.output.isJson) {
          this.session.terminal.out(outcome.id);
        }
      } else {
        const { code, message } = outcome.error;
        this.refuse({ line: places[i] ?? 0, error: message, code });
      }
    });
  }

  private refuse(refusal: Refusal): void {
    this.refused++;
    if (this.refusals.length >= refusalsMax) return;
    this.refusals.push(refusal);
    if (this.session.output.isJson) return;
    this.session.terminal.note(`line ${refusal.line}: ${refusal.error} (${refusal.code})`);
  }
}
