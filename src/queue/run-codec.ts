/**
 * A run's row. Columns are stored whole, and a column in which all tasks agree takes one number:
 * most runs live and die together, so their row is about 60 bytes however many tasks they have.
 *
 * queue id u32, priority u8, count u16, created u48, flags u8 (1 hash, 2 records inline),
 * record bytes varint, [hash 16], workers (count varint, each UTF-8 sized),
 * per column: mode u8 (0 all zero, 1 one varint for all, 2 a varint each), values,
 * [records].
 */
import { ByteReader, type ByteWriter, DecodeError } from "../base/bytes.ts";
import { columnCount, Run, taskState } from "./run.ts";
import type { Queue } from "./state.ts";

const flagHash = 1;
const flagInline = 2;
const modeZero = 0;
const modeUniform = 1;
const modeEach = 2;

/** Appends the row of a run. Equal runs give equal bytes, whatever their history. */
export function encodeRun(out: ByteWriter, run: Run): void {
  run.compactWorkers();
  out.u32(run.queue.id);
  out.u8(run.priority);
  out.u16(run.count);
  out.u48(run.createdAt);
  out.u8((run.requestHash ? flagHash : 0) | (run.inlineRecords ? flagInline : 0));
  out.varint(run.recordBytes);
  if (run.requestHash) out.bytes(run.requestHash);
  out.varint(run.workers.length);
  for (const worker of run.workers) out.utf8(worker);
  for (let c = 0; c < columnCount; c++) encodeColumn(out, run, c);
  if (run.inlineRecords) out.bytes(run.inlineRecords);
}

function encodeColumn(out: ByteWriter, run: Run, column: number): void {
  const from = column * run.count;
  const { columns, count } = run;
  const first = columns[from] as number;
  let uniform = true;
  for (let i = 1; i < count; i++) {
    if (columns[from + i] !== first) {
      uniform = false;
      break;
    }
  }
  if (!uniform) {
    out.u8(modeEach);
    out.reserve(8 * count);
    for (let i = 0; i < count; i++) out.varint(columns[from + i] as number);
  } else if (first === 0) {
    out.u8(modeZero);
  } else {
    out.u8(modeUniform);
    out.varint(first);
  }
}

/**
 * @param queueById - gives the queue of an id
 * @throws DecodeError when the row is malformed
 */
export function decodeRun(
  key: string,
  row: Buffer,
  queueById: (id: number) => Queue | undefined,
): Run {
  const input = new ByteReader(row);
  const queue = queueById(input.u32());
  if (!queue) throw new DecodeError("run of an unknown queue");
  const priority = input.u8();
  const count = input.u16();
  if (count < 1 || count > 256) throw new DecodeError(`run of ${count} tasks`);
  const createdAt = input.u48();
  const flags = input.u8();
  const recordBytes = input.varint();
  const requestHash = flags & flagHash ? Buffer.from(input.bytes(16)) : null;
  const workers: string[] = [];
  const workerCount = input.varint();
  for (let i = 0; i < workerCount; i++) workers.push(input.utf8());
  const columns = new Float64Array(columnCount * count);
  for (let c = 0; c < columnCount; c++) decodeColumn(input, columns, c * count, count);
  const inlineRecords = flags & flagInline ? Buffer.from(input.bytes(input.left)) : null;
  const run = new Run({
    key,
    count,
    queue,
    priority,
    createdAt,
    requestHash,
    columns,
    inlineRecords,
    recordBytes,
  });
  run.workers = workers;
  run.live = count - run.countState(taskState.removed);
  run.saved = true;
  return run;
}

function decodeColumn(input: ByteReader, columns: Float64Array, from: number, count: number): void {
  const mode = input.u8();
  if (mode === modeZero) return;
  if (mode === modeUniform) {
    columns.fill(input.varint(), from, from + count);
    return;
  }
  if (mode !== modeEach) throw new DecodeError(`column mode ${mode}`);
  for (let i = 0; i < count; i++) columns[from + i] = input.varint();
}
