/**
 * Connections between simulated nodes, as TCP gives them: frames in order, late, a suffix lost when a
 * connection breaks; a cut link falls silent and is noticed later, a dead process at once.
 */
import type { StoreId } from "../../../src/base/brand.ts";
import type {
  Channel,
  NodeIdentity,
  Transport,
  TransportListener,
} from "../../../src/transport/transport.ts";
import type { ProcessTime, VirtualTime } from "../clock.ts";
import type { Stream } from "../random.ts";

/** A process that can be connected with. */
export interface Endpoint {
  readonly identity: NodeIdentity;
  readonly life: ProcessTime;
  readonly listener: TransportListener;
}

export interface NetProfile {
  readonly minUs: number;
  readonly meanUs: number;
}

/** Silence after which a peer counts as gone, and how long it takes to connect. */
const silenceUs = 600_000;
const connectUs = 20_000;
/** Until the end of a process shows on its connections. */
const resetUs = 1_000;

interface Pair {
  cut: boolean;
  /** Raised when the connection breaks: what was sent before is lost. */
  epoch: number;
  connected: boolean;
  /** When the last frame of each direction and channel arrives: order is kept. */
  readonly arrivesUs: Map<string, number>;
}

export class SimNet {
  frames = 0;
  cuts = 0;
  private readonly time: VirtualTime;
  private readonly random: Stream;
  private readonly profile: NetProfile;
  private readonly up = new Map<StoreId, Endpoint>();
  private readonly pairs = new Map<string, Pair>();

  constructor(time: VirtualTime, random: Stream, profile: NetProfile) {
    this.time = time;
    this.random = random;
    this.profile = profile;
  }

  private pair(a: StoreId, b: StoreId): Pair {
    const name = a < b ? `${a}-${b}` : `${b}-${a}`;
    let pair = this.pairs.get(name);
    if (!pair) {
      pair = { cut: false, epoch: 0, connected: false, arrivesUs: new Map() };
      this.pairs.set(name, pair);
    }
    return pair;
  }

  online(endpoint: Endpoint): void {
    const { storeId } = endpoint.identity;
    this.up.set(storeId, endpoint);
    for (const other of this.up.keys()) if (other !== storeId) this.connectSoon(storeId, other);
  }

  /** The process is gone. */
  offline(storeId: StoreId): void {
    this.up.delete(storeId);
    for (const other of this.up.keys()) {
      // A cut link cannot tell that the other process has ended, either.
      const { cut } = this.pair(storeId, other);
      this.break(storeId, other, !cut, cut ? silenceUs : resetUs);
    }
  }

  private connectSoon(a: StoreId, b: StoreId): void {
    const [first, second] = [this.up.get(a), this.up.get(b)];
    this.time.after(connectUs, () => {
      const pair = this.pair(a, b);
      const isSame = first && second && this.up.get(a) === first && this.up.get(b) === second;
      if (pair.cut || pair.connected || !isSame) return;
      pair.connected = true;
      pair.epoch++;
      first.life.schedule(0, () => first.listener.connected(second.identity));
      second.life.schedule(0, () => second.listener.connected(first.identity));
    });
  }

  /** @param afterUs - until both notice */
  private break(a: StoreId, b: StoreId, reset: boolean, afterUs: number): void {
    const pair = this.pair(a, b);
    if (!pair.connected) return;
    pair.connected = false;
    pair.epoch++;
    for (const [id, gone] of [
      [a, b],
      [b, a],
    ] as const) {
      const endpoint = this.up.get(id);
      endpoint?.life.schedule(afterUs, () => endpoint.listener.disconnected(gone, reset));
    }
  }

  /** Nothing goes through any more, and nobody is told. */
  cut(a: StoreId, b: StoreId): void {
    const pair = this.pair(a, b);
    if (pair.cut) return;
    pair.cut = true;
    this.cuts++;
    const { epoch } = pair;
    this.time.after(silenceUs, () => {
      if (pair.cut && pair.epoch === epoch) this.break(a, b, false, 0);
    });
  }

  heal(a: StoreId, b: StoreId): void {
    const pair = this.pair(a, b);
    if (!pair.cut) return;
    pair.cut = false;
    // What was under way in the silence is lost with its connection.
    this.break(a, b, true, resetUs);
    this.connectSoon(a, b);
  }

  healAll(): void {
    for (const name of this.pairs.keys()) {
      const [a, b] = name.split("-").map(Number) as [StoreId, StoreId];
      this.heal(a, b);
      if (!this.pair(a, b).connected) this.connectSoon(a, b);
    }
  }

  private delayUs(): number {
    const { minUs, meanUs } = this.profile;
    return minUs - Math.log(1 - this.random.unit()) * meanUs;
  }

  private send(
    from: StoreId,
    to: StoreId,
    channel: Channel,
    deliver: (to: Endpoint) => void,
  ): boolean {
    const pair = this.pair(from, to);
    const target = this.up.get(to);
    if (!pair.connected || !target) return false;
    this.frames++;
    if (pair.cut) return true;
    const lane = `${from}>${to}${channel}`;
    const atUs = Math.max(this.time.nowUs + this.delayUs(), pair.arrivesUs.get(lane) ?? 0);
    pair.arrivesUs.set(lane, atUs);
    const { epoch } = pair;
    this.time.after(atUs - this.time.nowUs, () => {
      if (pair.epoch !== epoch || pair.cut || this.up.get(to) !== target) return;
      target.life.schedule(0, () => {
        if (pair.epoch === epoch) deliver(target);
      });
    });
    return true;
  }

  transport(storeId: StoreId, life: ProcessTime): Transport {
    return {
      start: async () => undefined,
      setPeers: () => undefined,
      setClusterId: () => undefined,
      send: (to, channel, group, type, parts) => {
        if (!life.alive) return false;
        const body = Buffer.concat(parts);
        return this.send(storeId, to, channel, ({ listener }) => {
          listener.frame(storeId, channel, group, type, body);
        });
      },
      waitingBytes: () => 0,
      whenBelow: (_to, _channel, _bytes, callback) => life.soon(callback),
      reject: (_from, text) => {
        throw new Error(`a frame was rejected: ${text}`);
      },
      peers: () => [],
      close: async () => undefined,
    };
  }
}
