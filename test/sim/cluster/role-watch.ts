/**
 * What must hold for whoever leads, or wants to: who may stand for election, how long a leader leads that
 * no majority reaches (thesis 6.2), what it knows of its followers, and when it may change the members
 * (thesis 4.1 and its errata).
 */

import type { LogIndex } from "../../../src/base/brand.ts";
import { limits } from "../../../src/base/limits.ts";
import { isVoter } from "../../../src/raft/conf-change.ts";
import type { Core } from "../../../src/raft/core.ts";
import type { Progress } from "../../../src/raft/progress.ts";
import type { Membership, Role } from "../../../src/raft/types.ts";
import type { Shard } from "../../../src/shard/shard.ts";
import { must } from "../violation.ts";
import type { SimNet } from "./net.ts";
import { coreOf } from "./raft-watch.ts";
import type { SimNode } from "./sim-node.ts";

/** Two of the longest election timeouts, and what was on its way when the last line was cut. */
const unheardUs = 2 * limits.electionGrowth * 300_000 + 1_900_000;
/** How often it is looked who can be heard. */
const lookUs = 10_000;

/** A replica as it was after the last event. */
interface Seen {
  role: Role;
  term: number;
  lastIndex: number;
  membership: Membership;
  /** Leader: when a majority could reach it last, or it could not do anything about it. */
  heardUs: number;
  matches: WeakMap<Progress, number>;
}

export class RoleWatch {
  private readonly nodes: readonly SimNode[];
  private readonly net: SimNet;
  private readonly now: () => number;
  private readonly seen = new WeakMap<Shard, Seen>();
  private nextUs = 0;

  constructor(nodes: readonly SimNode[], net: SimNet, now: () => number) {
    this.nodes = nodes;
    this.net = net;
    this.now = now;
  }

  /** To be called after every event. */
  look(): void {
    const nowUs = this.now();
    const isTime = nowUs >= this.nextUs;
    if (isTime) this.nextUs = nowUs + lookUs;
    for (const node of this.nodes) {
      for (const shard of node.shards) if (shard) this.lookAt(node, shard, isTime);
    }
  }

  private lookAt(node: SimNode, shard: Shard, isTime: boolean): void {
    const core = coreOf(shard.consensus.raft);
    const { role, term, membership, log } = core;
    const lastIndex = log.lastIndex();
    const seen = this.seen.get(shard) ?? {
      ...{ role: "follower", term, lastIndex, membership, heardUs: 0, matches: new WeakMap() },
    };
    this.seen.set(shard, seen);
    const name = `${node.name}/${shard.id}`;
    if (role !== "follower" && seen.role !== role) this.lookAtCandidate(name, core, seen);
    if (role === "leader") {
      if (seen.role !== role || seen.term !== term) {
        Object.assign(seen, { heardUs: this.now(), matches: new WeakMap() });
      } else if (lastIndex > seen.lastIndex) this.lookAtChanges(name, core, seen.lastIndex);
      this.lookAtFollowers(name, core, seen);
      if (isTime) this.lookAtMajority(node, core, seen);
    }
    Object.assign(seen, { role, term, lastIndex, membership });
  }

  private lookAtCandidate(name: string, core: Core, seen: Seen): void {
    // A change may have come into force with the event.
    const mayStand = [seen.membership, core.membership].some((one) => isVoter(one, core.id));
    must(mayStand, "who stands for election is a voter", name, core.role, core.term);
  }

  /** One change at a time, and none before an entry of the leader's term is committed. */
  private lookAtChanges(name: string, { log, term }: Core, before: number): void {
    const from = Math.max(log.applied + 1, log.firstIndex()) as LogIndex;
    const end = (log.lastIndex() + 1) as LogIndex;
    if (from >= end) return;
    const rest = log.slice(from, end, Number.POSITIVE_INFINITY) ?? [];
    const changes = rest.filter(({ type }) => type !== "normal");
    const fresh = changes.filter((entry) => entry.index > before && entry.term === term);
    if (fresh.length === 0) return;
    must(changes.length === 1, "one change of the members at a time", name, before);
    const knows = log.term(log.committed) === term;
    must(knows, "no change of the members before the term's first commit", name, term);
  }

  private lookAtFollowers(name: string, { progress }: Core, { matches }: Seen): void {
    for (const [id, one] of progress) {
      must(one.match < one.next, "what is sent next is behind what matches", name, id, one.next);
      const known = matches.get(one) ?? 0;
      matches.set(one, one.match);
      must(one.match >= known, "what matches stays", name, id, one.match);
    }
  }

  /** A leader whom no majority can reach steps down. */
  private lookAtMajority(node: SimNode, core: Core, seen: Seen): void {
    const nowUs = this.now();
    const { voters, votersOutgoing } = core.membership;
    const isHeard = [voters, votersOutgoing].every(
      (half) =>
        half.length === 0 ||
        half.filter((id) => id === core.id || this.reaches(id, node)).length > half.length / 2,
    );
    if (isHeard) seen.heardUs = nowUs;
    seen.heardUs = Math.max(seen.heardUs, node.machine.pausedUntilUs);
    const sinceUs = nowUs - seen.heardUs;
    must(sinceUs <= unheardUs, "a leader that no majority reaches steps down", node.name, sinceUs);
  }

  private reaches(id: number, to: SimNode): boolean {
    const from = this.nodes.find(({ storeId }) => storeId === id);
    return !!from && this.net.isOpen(from.name, to.name);
  }
}
