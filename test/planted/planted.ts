/** A bug as it is planted in a copy of the code. */
import type { WorldName } from "../sim/play.ts";

export interface Change {
  readonly file: string;
  /** Text that stands once in the file, and what is put in its place. */
  readonly find: string;
  readonly put: string;
}

export interface Planted extends Change {
  readonly id: string;
  readonly what: string;
  /** Where a second defence would cover the bug. */
  readonly also?: readonly Change[];
  /** Which simulated world finds it; a cluster if it is not said. */
  readonly world?: WorldName;
}
