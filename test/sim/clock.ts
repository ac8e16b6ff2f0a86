/**
 * Virtual time: a heap of events ordered by (virtual µs, sequence), and the clocks and timers of a
 * process on it. After each event all microtasks are drained, so the heap alone fixes the order.
 */
import { assert } from "../../src/base/assert.ts";
import type { Clock, TimerHandle, Timers } from "../../src/base/effects.ts";

interface Event {
  readonly atUs: number;
  readonly sequence: number;
  callback: (() => void) | null;
}

/** Events of one run: more is a loop that never ends. */
const eventsMax = 2_000_000;

export class VirtualTime {
  nowUs = 0;
  /** Events carried out. */
  events = 0;
  private readonly heap: Event[] = [];
  private sequence = 0;

  /** Calls back after so many virtual µs, 0 or more. */
  after(delayUs: number, callback: () => void): TimerHandle {
    assert(delayUs >= 0 && Number.isFinite(delayUs), "delay", delayUs);
    const atUs = this.nowUs + Math.round(delayUs);
    const event: Event = { atUs, sequence: this.sequence++, callback };
    this.push(event);
    return {
      cancel: () => {
        event.callback = null;
      },
    };
  }

  /** Carries out events until `isOver` says so after one of them, or none is left. */
  async run(isOver: () => boolean): Promise<void> {
    // Whoever calls this may not be inside a microtask yet.
    await Promise.resolve();
    while (!isOver()) {
      const event = this.pop();
      if (!event) return;
      if (!event.callback) continue;
      assert(event.atUs >= this.nowUs, "time goes on", event.atUs, this.nowUs);
      assert(++this.events <= eventsMax, "a run ends", this.events);
      this.nowUs = event.atUs;
      event.callback();
      await microtasksDrained();
    }
  }

  private push(event: Event): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent] as Event, event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  private pop(): Event | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (!last || last === first) return first;
    const size = heap.length;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (isBefore(last, heap[child] as Event)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.sequence < b.sequence);
}

/** A tick that is asked for inside a microtask comes when no microtask is left. */
function microtasksDrained(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve);
  });
}

/** The clocks of a machine. They outlive the processes on it. */
export class MachineClock {
  readonly time: VirtualTime;
  /** Ms of the wall clock at virtual time 0, jumps included. */
  private wallBaseMs: number;
  /** Length of a clock's second in real ones: 1 ± some ppm. */
  readonly rate: number;
  pausedUntilUs = 0;

  constructor(time: VirtualTime, wallBaseMs: number, rate: number) {
    this.time = time;
    this.wallBaseMs = wallBaseMs;
    this.rate = rate;
  }

  wallMs(): number {
    return Math.floor(this.wallBaseMs + (this.time.nowUs / 1000) * this.rate);
  }

  jump(byMs: number): void {
    this.wallBaseMs += byMs;
  }

  /** Stops the machine's processes for so long; what becomes due meanwhile happens at the end. */
  pause(ms: number): void {
    this.pausedUntilUs = Math.max(this.pausedUntilUs, this.time.nowUs + ms * 1000);
  }
}

/** Time as one process sees it. Nothing of it happens any more once the process has ended. */
export class ProcessTime implements Clock, Timers {
  readonly machine: MachineClock;
  private readonly startUs: number;
  private readonly uncaught: ((error: unknown) => void) | null;
  alive = true;

  /** @param uncaught - told of what a callback throws, as a process's last resort is */
  constructor(machine: MachineClock, uncaught: ((error: unknown) => void) | null = null) {
    this.machine = machine;
    this.uncaught = uncaught;
    this.startUs = machine.time.nowUs;
  }

  monotonicMs(): number {
    const { time, rate } = this.machine;
    return ((time.nowUs - this.startUs) / 1000) * rate;
  }

  wallMs(): number {
    return this.machine.wallMs();
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    assert(delayMs >= 0 && delayMs <= 3_600_000, "delay of a timer", delayMs);
    return this.schedule(Math.ceil((delayMs / this.machine.rate) * 1000), callback);
  }

  soon(callback: () => void): void {
    this.schedule(0, callback);
  }

  /** Calls back after so many µs, or when the pause is over that then holds. */
  schedule(delayUs: number, callback: () => void): TimerHandle {
    let handle = this.machine.time.after(delayUs, () => fire());
    const fire = () => {
      if (!this.alive) return;
      const { pausedUntilUs, time } = this.machine;
      if (pausedUntilUs > time.nowUs) handle = time.after(pausedUntilUs - time.nowUs, fire);
      else this.call(callback);
    };
    return { cancel: () => handle.cancel() };
  }

  private call(callback: () => void): void {
    if (!this.uncaught) {
      callback();
      return;
    }
    try {
      callback();
    } catch (error) {
      this.uncaught(error);
    }
  }
}
