/** Prints both clocks of the platform, in whole ms, for each line that comes in. */
import { createInterface } from "node:readline";
import { createClock } from "../../../src/platform/system.ts";

const clock = createClock();
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(`${clock.wallMs()} ${Math.round(clock.monotonicMs())}`);
}
