/**
 * The network between simulated nodes, as TCP gives it: frames in order, late, a suffix lost when a
 * connection breaks; what is silent is noticed late, the end of a process at once. Some runs have a
 * worse one, which loses, repeats and reorders Raft's messages and keeps its connections whatever
 * happens: nothing of Raft may rely on more.
 */
import type { StoreId } from "../../../src/base/brand.ts";
import { nodeFrames, shardFrames } from "../../../src/shard/replica-frames.ts";
import { type NodeIdentity, nodeGroup } from "../../../src/transport/transport.ts";
import type { ProcessTime, VirtualTime } from "../clock.ts";
import type { Stream } from "../random.ts";
import { Connection, type Frame } from "./connection.ts";
import { SimTransport } from "./sim-transport.ts";

export interface NetProfile {
  /** Of a frame's way. */
  readonly minUs: number;
  readonly meanUs: number;
  readonly bytesPerUs: number;
  /** Silence after which a peer counts as gone. */
  readonly silenceUs: number;
  /** null: as TCP. Else shares of Raft's messages. */
  readonly datagrams: {
    readonly lost: number;
    readonly repeated: number;
    readonly reordered: number;
  } | null;
}

const connectUs = 20_000;
const redialUs = 200_000;
/** Until the end of a process shows on its connections. */
const resetUs = 1_000;

/** One direction between two machines. */
interface Line {
  /** How many partitions it is cut by. */
  cuts: number;
  /** Raised with every cut. */
  number: number;
  /** Nothing arrives before. */
  cloggedUntilUs: number;
}

export class SimNet {
  frames = 0;
  private readonly time: VirtualTime;
  private readonly random: Stream;
  private readonly profile: NetProfile;
  private readonly running = new Set<SimTransport>();
  private readonly lines = new Map<string, Line>();
  /** Pairs that are about to connect. */
  private readonly dialling = new Set<string>();
  /** Told of each frame when it is sent. */
  onFrame: (from: SimTransport, to: SimTransport, frame: Frame) => void = () => undefined;
  /** A node sent what no node sends, says the layer above. */
  onRejected: (text: string) => void = () => undefined;
  /** A frame is on its way. */
  onSent: (from: StoreId, group: number, type: number, body: Buffer) => void = () => undefined;

  constructor(time: VirtualTime, random: Stream, profile: NetProfile) {
    this.time = time;
    this.random = random;
    this.profile = profile;
  }

  transport(identity: NodeIdentity, life: ProcessTime): SimTransport {
    return new SimTransport(this, identity, life);
  }

  private line(from: string, to: string): Line {
    const name = `${from}>${to}`;
    let line = this.lines.get(name);
    if (!line) {
      line = { cuts: 0, number: 0, cloggedUntilUs: 0 };
      this.lines.set(name, line);
    }
    return line;
  }

  private lineOf(from: SimTransport, to: SimTransport): Line {
    return this.line(from.identity.nodeId, to.identity.nodeId);
  }

  /** Whether anything that one machine sent may arrive at the other one now, or soon. */
  isOpen(from: string, to: string): boolean {
    const { cuts, cloggedUntilUs } = this.line(from, to);
    return cuts === 0 || cloggedUntilUs > this.time.nowUs;
  }

  // Connecting

  started(transport: SimTransport): void {
    this.running.add(transport);
    this.redial(transport);
  }

  private redial(transport: SimTransport): void {
    if (!transport.isRunning) return;
    this.dial(transport);
    transport.life.schedule(redialUs, () => this.redial(transport));
  }

  /** Tries to connect with all listed nodes that it is not connected with. */
  dial(transport: SimTransport): void {
    if (!transport.isRunning) return;
    for (const other of this.running) {
      if (!transport.lists(other.identity.nodeId)) continue;
      const { storeId } = other.identity;
      const pair = [transport.identity.storeId, storeId].sort((a, b) => a - b).join(" ");
      if (transport.connections.has(storeId) || this.dialling.has(pair)) continue;
      this.dialling.add(pair);
      this.time.after(connectUs, () => {
        this.dialling.delete(pair);
        this.connect(transport, other);
      });
    }
  }

  private connect(a: SimTransport, b: SimTransport): void {
    if (!a.isRunning || !b.isRunning) return;
    if (this.lineOf(a, b).cuts > 0 || this.lineOf(b, a).cuts > 0) return;
    if (a.connections.has(b.identity.storeId) || b.connections.has(a.identity.storeId)) return;
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const reason = one.objection(other);
      if (!reason) continue;
      one.refuse(other, reason);
      return;
    }
    const connection = new Connection([a, b], this.time, this.profile.bytesPerUs);
    a.connections.set(b.identity.storeId, connection);
    b.connections.set(a.identity.storeId, connection);
    for (const end of [a, b]) end.life.schedule(0, () => end.joined(connection));
  }

  clusterChanged(connection: Connection, from: SimTransport, clusterId: string): void {
    const to = connection.otherOf(from);
    const foreign = to.identity.clusterId;
    if (foreign !== "" && foreign !== clusterId) {
      from.refuse(to, "cluster");
      this.reset(connection);
      return;
    }
    to.life.schedule(this.delayUs(), () => to.peerChanged(connection, clusterId));
  }

  // Ends of connections

  /** Both ends see it at once. */
  reset(connection: Connection): void {
    connection.lostFromUs = Math.min(connection.lostFromUs, this.time.nowUs);
    for (const end of connection.ends) {
      end.life.schedule(resetUs, () => end.lost(connection, true));
    }
  }

  /** An end leaves because the other one is no longer in its list. */
  part(connection: Connection, from: SimTransport): void {
    connection.lostFromUs = Math.min(connection.lostFromUs, this.time.nowUs);
    this.goneFrom(connection, from);
    from.lost(connection, false);
  }

  /** The other end notices that this one is gone, or not before it has been silent for long. */
  private goneFrom(connection: Connection, from: SimTransport, afterUs = resetUs): void {
    const to = connection.otherOf(from);
    const isSilent = this.lineOf(from, to).cuts > 0;
    const noticedUs = isSilent ? this.profile.silenceUs : afterUs;
    to.life.schedule(noticedUs, () => to.lost(connection, !isSilent));
  }

  /** @param how - closed: what is under way still arrives */
  ended(transport: SimTransport, how: "closed" | "dead"): void {
    this.running.delete(transport);
    const { nowUs } = this.time;
    for (const connection of transport.connections.values()) {
      let restUs = nowUs;
      const isKept = how === "closed" || this.random.chance(0.5);
      for (const lane of isKept ? connection.lanesFrom(transport) : []) {
        restUs = Math.max(restUs, lane.arrivesUs);
      }
      connection.lostFromUs = Math.min(connection.lostFromUs, restUs);
      this.goneFrom(connection, transport, restUs - nowUs + resetUs);
      for (const lane of connection.lanesFrom(transport)) lane.end();
    }
    transport.connections.clear();
  }

  /**
   * When the last ping of the other end came, in this end's monotonic ms: pings leave regularly, as
   * long as both run and the line is open.
   */
  lastPingMs(connection: Connection, to: SimTransport): number {
    const from = connection.otherOf(to);
    const isHeard = from.isRunning && this.lineOf(from, to).cuts === 0;
    const everyMs = this.profile.silenceUs / 4000;
    const now = to.life.monotonicMs();
    return isHeard ? now - (now % everyMs) : 0;
  }

  // Faults

  /** Nothing goes from one machine to the other any more, and nobody is told. */
  cut(from: string, to: string): void {
    const line = this.line(from, to);
    line.cuts++;
    if (line.cuts > 1) return;
    const number = ++line.number;
    if (this.profile.datagrams) return;
    this.time.after(this.profile.silenceUs, () => {
      if (line.cuts > 0 && line.number === number) this.silent(from, to);
    });
  }

  /** A machine has heard nothing of another one for too long. */
  private silent(from: string, to: string): void {
    for (const connection of this.connections()) {
      const [a, b] = connection.ends;
      for (const [near, far] of [
        [a, b],
        [b, a],
      ] as const) {
        if (near.identity.nodeId !== to || far.identity.nodeId !== from) continue;
        connection.lostFromUs = Math.min(connection.lostFromUs, this.time.nowUs);
        this.goneFrom(connection, near);
        near.life.schedule(0, () => near.lost(connection, false));
      }
    }
  }

  private connections(): Set<Connection> {
    const all = new Set<Connection>();
    for (const transport of this.running) {
      for (const connection of transport.connections.values()) all.add(connection);
    }
    return all;
  }

  heal(from: string, to: string): void {
    const line = this.line(from, to);
    if (line.cuts === 0) return;
    line.cuts--;
    if (line.cuts > 0) return;
    for (const connection of this.connections()) {
      for (const end of connection.ends) {
        if (end.identity.nodeId === from && connection.otherOf(end).identity.nodeId === to) {
          this.goOn(connection, end);
        }
      }
    }
  }

  /** What was held up is sent again, or lost with its connection. */
  private goOn(connection: Connection, from: SimTransport): void {
    const lanes = connection.lanesFrom(from);
    const held = lanes.map((lane) => lane.releaseHeld());
    if (held.every((frames) => frames.length === 0)) return;
    if (!this.profile.datagrams && this.random.chance(0.5)) {
      this.reset(connection);
      return;
    }
    for (const frame of held.flat()) this.send(connection, from, frame);
    for (const lane of lanes) lane.serve();
  }

  healAll(): void {
    for (const [name, line] of this.lines) {
      line.cloggedUntilUs = 0;
      const [from, to] = name.split(">") as [string, string];
      while (line.cuts > 0) this.heal(from, to);
    }
  }

  /** What is sent arrives after that time only. */
  clog(from: string, to: string, untilUs: number): void {
    const line = this.line(from, to);
    line.cloggedUntilUs = Math.max(line.cloggedUntilUs, untilUs);
  }

  /** A machine stands still; the others notice its silence if it lasts. */
  paused(nodeId: string, untilUs: number): void {
    const { time, profile } = this;
    if (profile.datagrams || untilUs - time.nowUs <= profile.silenceUs) return;
    time.after(profile.silenceUs, () => {
      for (const connection of this.connections()) {
        for (const end of connection.ends) {
          if (end.identity.nodeId !== nodeId) continue;
          const other = connection.otherOf(end);
          connection.lostFromUs = Math.min(connection.lostFromUs, time.nowUs);
          other.life.schedule(0, () => other.lost(connection, false));
          end.life.schedule(resetUs, () => end.lost(connection, true));
        }
      }
    });
  }

  // Frames

  private delayUs(): number {
    const { minUs, meanUs } = this.profile;
    return minUs - Math.log(1 - this.random.unit()) * meanUs;
  }

  send(connection: Connection, from: SimTransport, frame: Frame): void {
    const to = connection.otherOf(from);
    this.frames++;
    this.onFrame(from, to, frame);
    const { datagrams } = this.profile;
    const line = this.lineOf(from, to);
    const isDatagram = datagrams !== null && isRaft(frame);
    if (line.cuts > 0) {
      if (!isDatagram) connection.lane(from, frame.channel).hold(frame);
      return;
    }
    const lane = connection.lane(from, frame.channel);
    const leftUs = lane.take(frame.body.length);
    let atUs = Math.max(this.time.nowUs + leftUs + this.delayUs(), line.cloggedUntilUs);
    if (!isDatagram || !this.random.chance(datagrams.reordered)) {
      atUs = Math.max(atUs, lane.arrivesUs);
      lane.arrivesUs = atUs;
    }
    if (isDatagram) {
      if (this.random.chance(datagrams.repeated)) {
        this.arrive(connection, to, frame, atUs + 20 * this.delayUs() * this.random.unit());
      }
      if (this.random.chance(datagrams.lost)) return;
    }
    this.arrive(connection, to, frame, atUs);
  }

  private arrive(connection: Connection, to: SimTransport, frame: Frame, atUs: number): void {
    to.life.schedule(atUs - this.time.nowUs, () => {
      if (atUs <= connection.lostFromUs) to.arrived(connection, frame);
    });
  }
}

/** Messages of Raft itself; other frames are of no use but in order. */
function isRaft({ group, type }: Frame): boolean {
  return group === nodeGroup ? type === nodeFrames.heartbeats : type === shardFrames.raft;
}
