/** What the transport's contract suite works with: nodes that note what their transports tell. */
import assert from "node:assert/strict";
import { type StoreId, toStoreId } from "../../src/base/brand.ts";
import type {
  Channel,
  NodeAddress,
  NodeIdentity,
  RefusalReason,
  Transport,
  TransportListener,
} from "../../src/transport/transport.ts";

export interface NodeNames {
  readonly nodeId: string;
  readonly storeId: number;
  readonly clusterId: string;
}

export interface TransportHarness {
  /**
   * A node's transport, not started. One made again under the same id is from then on the one that
   * the others dial; connections with the earlier one stay.
   */
  create(names: NodeNames): Transport;
  /** Where one node finds another. */
  address(to: string, from: string): NodeAddress;
  /** Lets time pass until so; rejects if that does not come within a minute. */
  settle(until: () => boolean): Promise<void>;
  /** From now on nothing that one node sends reaches the other; no connection is cut. */
  silence(from: string, to: string): void;
  /** Ends all silences. */
  heal(): void;
  end(): Promise<void>;
}

/** What the tests of the suite work with. */
export interface World {
  /** The harness of the running test. */
  readonly harness: TransportHarness;
  node(nodeId: string, storeId?: number, clusterId?: string): ClusterNode;
  /** Starts them, each with all others as peers. */
  start(...nodes: ClusterNode[]): Promise<void>;
  /** Two nodes that are connected. */
  pair(): Promise<readonly [ClusterNode, ClusterNode]>;
}

export const clusterIds = { one: "11".repeat(16), two: "22".repeat(16) } as const;

export interface SeenFrame {
  readonly from: StoreId;
  readonly channel: Channel;
  readonly group: number;
  readonly type: number;
  readonly body: Buffer;
}

export class ClusterNode implements TransportListener {
  readonly nodeId: string;
  readonly storeId: StoreId;
  readonly transport: Transport;
  /** `connected <node>`, and `disconnected <store> reset` or `silent`, in order. */
  readonly events: string[] = [];
  readonly peers: NodeIdentity[] = [];
  readonly frames: SeenFrame[] = [];
  readonly refusals: RefusalReason[] = [];
  private readonly present = new Set<StoreId>();
  private isClosed = false;

  constructor(names: NodeNames, transport: Transport) {
    this.nodeId = names.nodeId;
    this.storeId = toStoreId(names.storeId);
    this.transport = transport;
  }

  start(): Promise<void> {
    return this.transport.start(this);
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.transport.close();
  }

  sees(other: ClusterNode): boolean {
    return this.present.has(other.storeId);
  }

  /** Events that begin so. */
  count(start: string): number {
    return this.events.filter((event) => event.startsWith(start)).length;
  }

  send(to: ClusterNode, channel: Channel, group: number, type: number, text: string): boolean {
    return this.transport.send(to.storeId, channel, group, type, [Buffer.from(text)]);
  }

  frame(from: StoreId, channel: Channel, group: number, type: number, body: Buffer): void {
    assert.ok(this.present.has(from), `a frame of ${from}, which is not connected`);
    this.frames.push({ from, channel, group, type, body });
  }

  connected(peer: NodeIdentity): void {
    assert.ok(!this.present.has(peer.storeId), `${peer.storeId} is connected already`);
    this.present.add(peer.storeId);
    this.peers.push(peer);
    this.events.push(`connected ${peer.nodeId}`);
  }

  disconnected(storeId: StoreId, reset: boolean): void {
    assert.ok(this.present.delete(storeId), `${storeId} was not connected`);
    this.events.push(`disconnected ${storeId} ${reset ? "reset" : "silent"}`);
  }

  refused(_address: string, reason: RefusalReason): void {
    this.refusals.push(reason);
  }
}
