/** How the process's JavaScript heap grows. */
import { setFlagsFromString } from "node:v8";

/** By how much the heap may grow, in % of what was alive at the last collection, before the next. */
const growthPercent = 100;

/**
 * V8 lets a busy heap grow to three or four times of what is alive. What a queue lets go of has mostly
 * lived for some time (until its write was durable), so that only a whole collection frees it: with
 * 100,000 queues 240 MB of garbage stood beside 110 MB. Measured with growths of 50, 70 and 100 %:
 * 40,000 queues took 258, 275 and 295 MB, 383 without; at full load, where little is alive, 50 %
 * doubled the number of collections (1 to 3 % of the CPU).
 */
export function boundHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
}
