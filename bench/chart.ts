/**
 * `npm run bench:chart`: draws the latest results of `bench:peers` and of `bench:peers -- --nodes 3` into
 * bench/results/peers.svg. Both do so themselves when they end.
 */
import { drawLatest } from "./chart/draw-latest.ts";

for (const line of await drawLatest()) console.log(line);
