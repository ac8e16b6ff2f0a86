/** From what an application hands over to what a frame carries; checks what gRPC would clamp. */
import { encodeTaskFields } from "../api/client-create-frame.ts";
import type { CreateInput } from "../api/create-coder.ts";
import type { Clock } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import { QuorumQError } from "./errors.ts";
import type { AnyTasks, QueueOf } from "./task-map.ts";

/** How a task shall be treated. Absent is the server's default. */
export interface TaskOptions {
  /** 0..9, higher first; default 0. */
  readonly priority?: number;
  /** Deliveries before the dead letters, 1..1000. */
  readonly maxAttempts?: number;
  /** Seconds until it is ready. Whole ones count at the server, parts by this machine's clock. */
  readonly delaySeconds?: number;
  /** When it shall be ready: a Date, or ms since 1970. Wins over delaySeconds. */
  // biome-ignore lint/style/noRestrictedGlobals: a type of the caller's values, not a clock
  readonly runAt?: Date | number;
  /**
   * 1..256 bytes: the same key gives the same task as long as its record lives, across processes
   * and retries of your own. Retries inside the SDK are safe without.
   */
  readonly idempotencyKey?: string;
  /** URL that is told of the end. */
  readonly webhook?: string;
  readonly traceParent?: string;
  readonly traceState?: string;
}

/** A task of `enqueueBatch`: one type per queue of the map. */
export type EnqueueItem<Tasks extends object = AnyTasks> = {
  readonly [Queue in QueueOf<Tasks>]: ItemOf<Queue, Tasks[Queue]>;
}[QueueOf<Tasks>];

/** A task for one queue. */
export interface ItemOf<Queue extends string, Payload> extends TaskOptions {
  readonly queue: Queue;
  /** See `Producer.enqueue`. */
  readonly payload: Payload;
}

const queueName = /^[A-Za-z0-9._:-]{1,128}$/u;

/** A queue and options, checked and encoded: what tasks of one frame may have in common. */
export interface EncodedOptions {
  readonly fields: Uint8Array;
  /** Tasks of one group may share a frame: one queue and priority, or `keyedGroup`. */
  readonly group: string;
}

/** The group of all tasks with keys. */
export const keyedGroup = "";

/**
 * Encodes what is the same for many tasks.
 * @param clock - needed for a delay with parts of a second
 * @throws QuorumQError invalid_argument
 */
export function encodeOptions(queue: string, options: TaskOptions, clock: Clock): EncodedOptions {
  const shared = sharedInput(queue, options, clock);
  const isKeyed = shared.idempotencyKey !== undefined;
  const group = isKeyed ? keyedGroup : `${shared.priority}${queue}`;
  return { fields: encodeTaskFields(shared), group };
}

type SharedInput = Omit<CreateInput, "seq" | "payload"> & { readonly priority: number };

function sharedInput(queue: string, options: TaskOptions, clock: Clock): SharedInput {
  if (!queueName.test(queue)) throw invalid(`queue: "${queue}" is no queue's name`);
  const { priority = 0, maxAttempts, idempotencyKey, webhook, traceParent, traceState } = options;
  if (!isIntegerIn(priority, 0, limits.priorityMax)) throw invalid("priority: 0..9");
  if (maxAttempts !== undefined && !isIntegerIn(maxAttempts, 1, limits.maxAttemptsMax)) {
    throw invalid(`maxAttempts: 1..${limits.maxAttemptsMax}`);
  }
  if (idempotencyKey !== undefined) {
    const bytes = Buffer.byteLength(idempotencyKey);
    if (!isIntegerIn(bytes, 1, limits.idempotencyKeyBytes)) {
      throw invalid(`idempotencyKey: 1..${limits.idempotencyKeyBytes} bytes`);
    }
  }
  return {
    queue,
    priority,
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...text("webhook", webhook, limits.webhookChars),
    ...text("traceParent", traceParent, limits.traceParentChars),
    ...text("traceState", traceState, limits.traceStateChars),
    ...when(options, clock),
  };
}

function text(
  name: "webhook" | "traceParent" | "traceState",
  value: string | undefined,
  most: number,
) {
  if (value === undefined) return {};
  if (value.length > most) throw invalid(`${name}: at most ${most} characters`);
  return { [name]: value };
}

function when({ runAt, delaySeconds }: TaskOptions, clock: Clock) {
  if (runAt !== undefined) {
    const ms = typeof runAt === "number" ? runAt : runAt.getTime();
    if (!(ms >= 0 && ms <= clock.wallMs() + limits.delaySecondsMax * 1000)) {
      throw invalid("runAt: a time, at most ten years from now");
    }
    return { runAtMs: Math.ceil(ms) };
  }
  if (delaySeconds === undefined || delaySeconds === 0) return {};
  if (!(delaySeconds > 0 && delaySeconds <= limits.delaySecondsMax)) {
    throw invalid(`delaySeconds: 0..${limits.delaySecondsMax}`);
  }
  if (Number.isInteger(delaySeconds)) return { delaySeconds };
  return { runAtMs: Math.ceil(clock.wallMs() + delaySeconds * 1000) };
}

/**
 * The bytes of a payload or result: a Uint8Array as it is, anything else as JSON.
 * @throws QuorumQError invalid_argument for what JSON has no form of
 */
export function encodeValue(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new QuorumQError("invalid_argument", "the value has no form in JSON", { cause });
  }
  if (json === undefined) throw invalid("undefined, functions and symbols have no form in JSON");
  return Buffer.from(json);
}

function isIntegerIn(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function invalid(rule: string): QuorumQError {
  return new QuorumQError("invalid_argument", rule);
}
