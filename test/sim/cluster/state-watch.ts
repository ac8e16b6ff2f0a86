/**
 * The states of a shard's replicas while they run: at equal applied index they are equal (FAULTS Q12),
 * after a restart and after a snapshot too, and rows, indexes and counts agree with each other (Q11).
 */
import { crc32c } from "../../../src/base/crc32c.ts";
import { checkInvariants, exportRows } from "../../../src/queue/invariants.ts";
import type { EntryApplier } from "../../../src/shard/applier.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { valuesOf } from "../checkers/state.ts";
import { must } from "../violation.ts";
import type { SimNode } from "./sim-node.ts";

interface Digest {
  readonly name: string;
  readonly text: string;
}

export class StateWatch {
  private readonly nodes: readonly SimNode[];
  private readonly applied = new WeakMap<Shard, number>();
  /** By shard and index. */
  private readonly digests = new Map<string, Digest>();

  private readonly every: number;

  /** @param every - states are compared at each index that so many divide */
  constructor(nodes: readonly SimNode[], every: number) {
    this.nodes = nodes;
    this.every = every;
  }

  /** To be called after every event. */
  look(): void {
    for (const node of this.nodes) {
      for (const shard of node.shards) if (shard) this.lookAt(node, shard);
    }
  }

  private lookAt(node: SimNode, shard: Shard): void {
    const { applier, closed } = insidesOf(shard);
    const { index } = applier.applied;
    if (this.applied.get(shard) === index) return;
    this.applied.set(shard, index);
    if (index % this.every !== 0 || closed || !applier.isBetweenEntries) return;
    const text = digestOf(node, shard);
    const name = `${shard.id}/${index}`;
    const known = this.digests.get(name);
    if (!known) {
      this.digests.set(name, { name: node.name, text });
      return;
    }
    must(known.text === text, "one state at one index", name, known.name, node.name);
  }
}

function insidesOf(shard: Shard): { readonly applier: EntryApplier; readonly closed: boolean } {
  return shard as unknown as { applier: EntryApplier; closed: boolean };
}

/** Of the rows, in no order, and of what is counted beside them. */
function digestOf(node: SimNode, { id, state }: Shard): string {
  const rows = exportRows(state, valuesOf(node.disk.store(node.storePath(id)).rows));
  checkInvariants(state, rows);
  let sum = 0;
  for (const [key, value] of rows) sum += crc32c(value, 0, value.length, crc32c(Buffer.from(key)));
  return JSON.stringify([rows.size, sum, state.counters]);
}
