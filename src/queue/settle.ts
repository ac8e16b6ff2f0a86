/**
 * settle: complete, fail, nack, abandon and heartbeat of claimed tasks. An item is judged by its
 * lease token, or by the worker's id if it carries none; until an expiry is logged, the holder may
 * still settle. Items are grouped by run, so that index rows change once per group.
 */
import { assert, unreachable } from "../base/assert.ts";
import { errorCodes } from "../base/errors.ts";
import { abandonBackoffMs, backoffMs } from "./backoff.ts";
import { type SettleCommand, type SettleResult, settleOps } from "./command.ts";
import type { Need } from "./needs.ts";
import { col, type Run, taskState } from "./run.ts";
import { readResultRow, SettleGroupReader } from "./settle-groups.ts";
import { resultKey, type State } from "./state.ts";

const notFound = errorCodes.not_found.number;
const leaseLost = errorCodes.lease_lost.number;

/** @param runs - takes the run of each group, undefined for one that is not in memory */
export function settleNeeds(
  state: State,
  command: SettleCommand,
  runs: (Run | undefined)[],
): Need[] | null {
  let needs: Need[] | null = null;
  const reader = new SettleGroupReader(command.groups);
  while (reader.nextGroup()) {
    const { key } = reader;
    const run = state.run(key);
    runs.push(run);
    if (run) {
      if (reader.op <= settleOps.fail) needs = repeatNeeds(state, run, reader, needs);
    } else if (!state.isKnownAbsent(key)) {
      needs ??= [];
      needs.push({ kind: "run", key });
    }
  }
  return needs;
}

/** A result that was given before is compared with the stored one, which must be there for it. */
function repeatNeeds(
  state: State,
  run: Run,
  reader: SettleGroupReader,
  needs: Need[] | null,
): Need[] | null {
  if (reader.token === 0 || run.countState(taskState.leased) === run.live) return needs;
  let missing = needs;
  for (let i = 0; i < reader.count; i++) {
    reader.nextItem();
    if (!isRepeat(run, reader)) continue;
    const reference = run.get(col.RESULT, reader.place);
    if (reference < 256) continue;
    const key = resultKey(Math.floor(reference / 256));
    if (state.overlay.get(key) !== undefined || state.loadedRows.has(key)) continue;
    missing ??= [];
    missing.push({ kind: "row", key });
  }
  return missing;
}

function isRepeat(run: Run, reader: SettleGroupReader): boolean {
  const { place } = reader;
  if (place >= run.count || reader.token === 0) return false;
  const wanted = reader.op === settleOps.complete ? taskState.completed : taskState.failed;
  return run.get(col.STATE, place) === wanted && run.get(col.TOKEN, place) === reader.token;
}

/** @param runs - of its groups, as the last `settleNeeds` found them */
export function settle(
  state: State,
  command: SettleCommand,
  runs: readonly (Run | undefined)[],
): SettleResult {
  const result: SettleResult = {
    kind: "settled",
    codes: new Uint8Array(command.count),
    times: new Float64Array(command.count),
    dead: new Uint8Array(command.count),
  };
  const reader = new SettleGroupReader(command.groups);
  let item = 0;
  for (let group = 0; reader.nextGroup(); group++) {
    const run = runs[group];
    if (!run || run.queue.tenant.name !== command.tenant) {
      result.codes.fill(notFound, item, item + reader.count);
    } else {
      new GroupSettler(state, command, run, reader, result).settle(item);
    }
    item += reader.count;
  }
  assert(item === command.count, "items in the groups", item, command.count);
  return result;
}

/** Settles one group; collects what its items have in common and changes the indexes at the end. */
class GroupSettler {
  private readonly state: State;
  private readonly command: SettleCommand;
  private readonly run: Run;
  private readonly reader: SettleGroupReader;
  private readonly result: SettleResult;
  /** Due time that tasks of this group have left and whose row is not looked after yet. */
  private leftDue = -1;
  private changed = false;
  private ready = 0;
  private readySeq = 0;
  private ended = 0;
  private died = 0;
  /** Number of the result row of this group; 0 = not needed so far. */
  private resultRow = 0;

  constructor(
    state: State,
    command: SettleCommand,
    run: Run,
    reader: SettleGroupReader,
    result: SettleResult,
  ) {
    this.state = state;
    this.command = command;
    this.run = run;
    this.reader = reader;
    this.result = result;
  }

  settle(firstItem: number): void {
    const { reader, result } = this;
    for (let i = 0; i < reader.count; i++) {
      reader.nextItem();
      const code = this.check();
      const item = firstItem + i;
      if (code !== 0) result.codes[item] = this.isSameAgain() ? this.again(item) : code;
      else this.settleItem(item, i);
    }
    this.finish();
  }

  /** Whether the caller holds the lease of the current item's task. */
  private check(): number {
    const { run, reader } = this;
    const { place } = reader;
    if (place >= run.count || run.columns[place] === taskState.removed) return notFound;
    if (run.columns[place] !== taskState.leased) return leaseLost;
    if (reader.token !== 0) return run.get(col.TOKEN, place) === reader.token ? 0 : leaseLost;
    return run.workerOf(place) === this.command.workerId ? 0 : leaseLost;
  }

  /** The same result again, with the token it was given with. */
  private isSameAgain(): boolean {
    const { run, reader, state } = this;
    if (reader.op > settleOps.fail || !isRepeat(run, reader)) return false;
    const reference = run.get(col.RESULT, reader.place);
    if (reference < 256) return reader.resultFrom < 0 && reader.errorFrom < 0;
    const key = resultKey(Math.floor(reference / 256));
    const row = state.overlay.get(key) ?? state.loadedRows.get(key);
    if (!row) return false;
    const stored = readResultRow(asBuffer(row), reference % 256);
    const { bytes } = reader;
    return (
      equalSlices(stored.result, bytes, reader.resultFrom, reader.resultTo) &&
      equalSlices(stored.error, bytes, reader.errorFrom, reader.errorTo)
    );
  }

  private again(item: number): number {
    this.result.times[item] = this.run.get(col.UPDATED, this.reader.place);
    return 0;
  }

  private settleItem(item: number, index: number): void {
    const { run, reader, state, result } = this;
    const { place } = reader;
    const now = state.counters.timeMs;
    switch (reader.op) {
      case settleOps.complete:
      case settleOps.fail: {
        const completed = reader.op === settleOps.complete;
        this.keepResult(place, index, reader.resultFrom >= 0 || reader.errorFrom >= 0);
        this.end(place, completed ? taskState.completed : taskState.failed);
        result.times[item] = now;
        return;
      }
      case settleOps.nack: {
        this.keepResult(place, index, reader.errorTo > reader.errorFrom);
        const left = run.get(col.ATTEMPTS, place) < run.get(col.MAX_ATTEMPTS, place);
        if (!left) {
          this.end(place, taskState.dead);
          result.dead[item] = 1;
          return;
        }
        const policy = reader.ms < 0;
        const attempts = run.get(col.ATTEMPTS, place);
        const delay = policy ? backoffMs(state.settings, run.key, place, attempts) : reader.ms;
        run.set(col.ABANDONS, place, 0);
        this.comeBack(place, delay);
        result.times[item] = delay;
        return;
      }
      case settleOps.abandon:
      case settleOps.release:
        this.abandon(place, reader.op === settleOps.abandon);
        return;
      case settleOps.heartbeat: {
        const until = now + (reader.ms || run.get(col.LEASE, place));
        this.moveDue(place, until);
        result.times[item] = until;
        return;
      }
      default:
        unreachable(reader.op as never);
    }
  }

  private abandon(place: number, counted: boolean): void {
    const { run } = this;
    run.set(col.ATTEMPTS, place, run.get(col.ATTEMPTS, place) - 1);
    const abandons = run.get(col.ABANDONS, place) + (counted ? 1 : 0);
    run.set(col.ABANDONS, place, abandons);
    this.comeBack(place, counted ? abandonBackoffMs(abandons) : 0);
  }

  /** Notes where the item's result or error lies; a row is written for the group if any has one. */
  private keepResult(place: number, index: number, has: boolean): void {
    const { run, state } = this;
    const before = run.get(col.RESULT, place);
    let reference = 0;
    if (has) {
      if (this.resultRow === 0) {
        this.resultRow = state.nextSeq();
        state.overlay.put(resultKey(this.resultRow), this.reader.resultRow());
      }
      reference = this.resultRow * 256 + index;
    }
    run.set(col.RESULT, place, reference);
    state.releaseResult(run, before, place);
  }

  /** The task gives up its lease; its STATE is set by the caller. */
  private leave(place: number): void {
    const { run } = this;
    const due = run.get(col.DUE, place);
    if (this.leftDue !== due) this.flushDue();
    this.leftDue = due;
    this.changed = true;
    run.set(col.STATE, place, taskState.removed);
    run.queue.leased--;
  }

  private flushDue(): void {
    if (this.leftDue >= 0) this.state.leaveDue(this.run, this.leftDue);
    this.leftDue = -1;
  }

  private end(place: number, ended: number): void {
    const { run, state } = this;
    this.leave(place);
    run.set(col.STATE, place, ended);
    run.set(col.DUE, place, state.retentionEnd(ended));
    run.set(col.UPDATED, place, state.counters.timeMs);
    run.set(col.ABANDONS, place, 0);
    if (ended === taskState.dead) this.died++;
    else this.ended++;
  }

  /** Back to the queue: behind its ready tasks, or after a delay. */
  private comeBack(place: number, delayMs: number): void {
    const { run, state } = this;
    const now = state.counters.timeMs;
    this.leave(place);
    run.set(col.UPDATED, place, now);
    run.set(col.WORKER, place, 0);
    if (delayMs > 0) {
      // The new time may be the very time of the lease that ends: first leave, then enter.
      this.flushDue();
      run.set(col.STATE, place, taskState.delayed);
      run.set(col.DUE, place, now + delayMs);
      run.queue.delayed++;
      state.enterDue(run, now + delayMs, 1);
      return;
    }
    if (this.readySeq === 0) this.readySeq = state.nextSeq();
    run.set(col.STATE, place, taskState.ready);
    run.set(col.DUE, place, 0);
    run.set(col.SEQ, place, this.readySeq);
    this.ready++;
  }

  private moveDue(place: number, until: number): void {
    const { run, state } = this;
    const before = run.get(col.DUE, place);
    if (before === until) return;
    run.set(col.DUE, place, until);
    state.touch(run);
    state.leaveDue(run, before);
    state.enterDue(run, until, 1);
  }

  private finish(): void {
    const { run, state } = this;
    if (!this.changed) return;
    state.touch(run);
    state.touchQueue(run.queue);
    this.flushDue();
    if (this.ready > 0) state.addReady(run, this.readySeq, this.ready);
    const { ended, died } = this;
    if (ended + died === 0) return;
    state.paces.addSettled(run.queue.id, ended + died, state.counters.timeMs);
    run.queue.ended += ended;
    run.queue.dead += died;
    if (ended > 0) state.enterRetention(run, state.retentionEnd(taskState.completed), ended);
    if (died > 0) {
      state.enterRetention(run, state.retentionEnd(taskState.dead), died);
      state.enterDead(run, died);
    }
    state.events.ended(run);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function equalSlices(stored: Buffer | null, bytes: Buffer, from: number, to: number): boolean {
  if (stored === null) return from < 0;
  return from >= 0 && stored.equals(bytes.subarray(from, to));
}
