/** The doctor's look at the ports of this node and at the other nodes. */
import { connect as connectTo, createServer } from "node:net";
import { createClock } from "../platform/system.ts";
import type { Config } from "./config-keys.ts";
import type { Check } from "./doctor-checks.ts";
import { packageVersion } from "./package-version.ts";

interface Listener {
  readonly host: string;
  readonly port: number;
}

const waitMs = 2000;
/** Clocks further apart than this show in ids, retention and logs. */
const skewMs = 1000;

/** @returns one check per listener and per peer */
export async function checkNetwork(config: Config): Promise<readonly Check[]> {
  const { http, grpc, metrics, raft, peers } = config;
  const listeners: (readonly [string, Listener])[] = [
    ["http", http],
    ...grpc.addr.map((listener) => ["grpc", listener] as const),
  ];
  if (metrics.addr !== null) listeners.push(["metrics", metrics.addr]);
  if (raft.enabled) listeners.push(["raft", raft.bindAddr]);
  const checks = listeners.map(([name, listener]) => checkListener(name, listener));
  const others = raft.enabled ? raft.peers.filter(({ id }) => id !== raft.selfId) : [];
  for (const { id, host, port } of others) checks.push(checkPeer(id, { host, port }));
  for (const { id, url } of peers.http) {
    if (id !== raft.selfId) checks.push(checkPeerHttp(id, url));
  }
  return Promise.all(checks);
}

function checkListener(kind: string, { host, port }: Listener): Promise<Check> {
  const name = `${kind} listener`;
  const at = `${host}:${port}`;
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      const detail = `${at}: ${error.code ?? error.message}`;
      if (error.code === "EADDRINUSE") {
        const advice = "fine if that is this node, running; else choose another port";
        resolve({ name, level: "warn", detail: `${at} is in use`, advice });
      } else resolve({ name, level: "fail", detail, advice: "choose an address of this machine" });
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => resolve({ name, level: "ok", detail: `${at} is free` }));
    });
  });
}

function checkPeer(id: string, { host, port }: Listener): Promise<Check> {
  const name = `peer ${id}`;
  const detail = `${host}:${port}`;
  return new Promise((resolve) => {
    const socket = connectTo({ host, port, timeout: waitMs });
    const end = (check: Check): void => {
      socket.destroy();
      resolve(check);
    };
    const advice = "start it, or look at firewalls and raft.peers";
    socket.once("connect", () => end({ name, level: "ok", detail: `${detail} answers` }));
    socket.once("timeout", () =>
      end({ name, level: "warn", detail: `${detail}: no answer`, advice }),
    );
    socket.once("error", (error: NodeJS.ErrnoException) =>
      end({ name, level: "warn", detail: `${detail}: ${error.code ?? error.message}`, advice }),
    );
  });
}

/** Its version and its clock, as an answer's Date tells it: to the second. */
async function checkPeerHttp(id: string, url: string): Promise<Check> {
  const name = `peer ${id}`;
  try {
    const response = await fetch(new URL("/cluster/nodes", url), {
      signal: AbortSignal.timeout(waitMs),
    });
    // biome-ignore lint/style/noRestrictedGlobals: reads a header's time, no clock
    const theirMs = Date.parse(response.headers.get("date") ?? "");
    const apartMs = Math.abs(createClock().wallMs() - theirMs);
    if (apartMs > skewMs + 1000) {
      const detail = `${url}: its clock is ${(apartMs / 1000).toFixed(1)} s apart from this one`;
      return { name, level: "warn", detail, advice: "synchronize the clocks of all nodes" };
    }
    const { nodes } = (await response.json()) as { nodes?: { id: string; version: string }[] };
    const theirs = nodes?.find((node) => node.id === id)?.version ?? "";
    if (theirs !== "" && theirs !== packageVersion()) {
      const detail = `${url} runs ${theirs}, this is ${packageVersion()}`;
      return {
        name,
        level: "warn",
        detail,
        advice: "fine during an upgrade; then make them equal",
      };
    }
    return { name, level: "ok", detail: `${url} answers` };
  } catch (error) {
    const detail = `${url}: ${error instanceof Error ? error.message : String(error)}`;
    return { name, level: "warn", detail, advice: "start it, or look at peers.http" };
  }
}
