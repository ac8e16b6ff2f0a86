/** Nodes over real sockets on the loopback interface, with a fault proxy on each way between two. */
import { toStoreId } from "../../../src/base/brand.ts";
import type { Logger } from "../../../src/base/effects.ts";
import { createClock, createRandom, createTimers } from "../../../src/platform/system.ts";
import { createTcpTransport } from "../../../src/transport/tcp-transport.ts";
import type { NodeAddress, NodeIdentity, Transport } from "../../../src/transport/transport.ts";
import type { NodeNames, TransportHarness } from "../../contract/transport-node.ts";
import { FaultProxy } from "../../integration/fault-proxy.ts";

export const secret = "a secret of the tests, long enough";

/** Short, so that tests of silence are: a tick is 50 ms. */
export const silenceMs = 200;
/** Shorter than what slow lines take in the tests. */
const stallMs = 1_000;

export const quietLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quietLogger,
};

export function identityOf(names: NodeNames): NodeIdentity {
  const { nodeId, storeId, clusterId } = names;
  return {
    nodeId,
    storeId: toStoreId(storeId),
    clusterId,
    raft: `${nodeId}.example:7000`,
    http: `http://${nodeId}.example:8080`,
    grpc: `${nodeId}.example:9092`,
    version: "1.2.3",
  };
}

export const systemEffects = {
  clock: createClock(),
  timers: createTimers(),
  random: createRandom(),
  logger: quietLogger,
};

function createTransport(names: NodeNames, port: number, logger: Logger): Transport {
  const deps = { ...systemEffects, logger };
  const listen = { host: listenHost, port };
  const identity = identityOf(names);
  return createTcpTransport(deps, { identity, listen, secret, silenceMs, stallMs });
}

/** Looks at each turn of the event loop; a minute is the most. */
export async function settle(until: () => boolean): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (!until()) {
    if (performance.now() > endMs) throw new Error(`not so within a minute: ${until.toString()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** An address of the loopback network that no other process listens on: ports need no probing. */
export const listenHost = `127.${64 + ((process.pid >> 16) % 64)}.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const firstPort = 7001;

async function openProxy(): Promise<FaultProxy> {
  const proxy = new FaultProxy({ host: "127.0.0.1", port: 1 });
  await proxy.start();
  return proxy;
}

const nodeNames = ["a", "b", "c"];

export interface TcpHarness extends TransportHarness {
  /** Where the newest node of that id listens itself. */
  port(nodeId: string): number;
  /** The proxy between two nodes. */
  way(from: string, to: string): FaultProxy;
}

/** Each node reaches each other one through a proxy of its own. */
export async function createTcpHarness(logger = quietLogger): Promise<TcpHarness> {
  const ways = new Map<string, FaultProxy>();
  for (const from of nodeNames) {
    for (const to of nodeNames) if (from !== to) ways.set(`${from} ${to}`, await openProxy());
  }
  let created = 0;

  function way(from: string, to: string): FaultProxy {
    const proxy = ways.get(`${from} ${to}`);
    if (proxy === undefined) throw new Error(`no way from ${from} to ${to}`);
    return proxy;
  }

  return {
    way,
    port: (nodeId) => way(nodeNames.find((other) => other !== nodeId) ?? "", nodeId).target.port,
    create(names) {
      const port = firstPort + created++;
      for (const from of nodeNames) {
        const proxy = ways.get(`${from} ${names.nodeId}`);
        if (proxy !== undefined) proxy.target = { host: listenHost, port };
      }
      return createTransport(names, port, logger);
    },
    address: (to, from): NodeAddress => ({
      nodeId: to,
      raft: `127.0.0.1:${way(from, to).port}`,
      http: "",
      grpc: "",
    }),
    settle,
    silence(from, to) {
      way(from, to).silence("target");
      way(to, from).silence("dialler");
    },
    heal() {
      for (const proxy of ways.values()) proxy.heal();
    },
    async end() {
      for (const proxy of ways.values()) await proxy.close();
    },
  };
}
