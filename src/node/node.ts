/**
 * Wires one node from its configuration and the effects it is given: store → shards → router →
 * edges. Nothing else builds objects.
 *
 * Start: directory, stores, replay, election, then the listeners. Stop: no new work, waiting
 * callers answered, edges closed, shards closed with a last checkpoint, directory released.
 */
import { type Authenticator, createAuthenticator } from "../auth/authenticator.ts";
import { toShardId } from "../base/brand.ts";
import { limits } from "../base/limits.ts";
import { createGrpcServer, type GrpcServer } from "../edge/grpc/server.ts";
import type { NodeInfo } from "../edge/grpc/stream-core.ts";
import { createMetricsServer, type MetricsServer } from "../edge/http/metrics-server.ts";
import { createHttpServer, type HttpServer } from "../edge/http/server.ts";
import { type ProcessMetrics, startProcessMetrics } from "../platform/process-metrics.ts";
import { AdminRouter, type NodeDescription } from "../router/admin-router.ts";
import { ShardRouter } from "../router/shard-router.ts";
import type { LogStart } from "../shard/log-store.ts";
import type { Replica } from "../shard/replica.ts";
import type { Shard } from "../shard/shard.ts";
import { writeClusterFile } from "../storage/cluster-file.ts";
import { generationPath, readCurrent } from "../storage/current-file.ts";
import { sampleFreeSpace } from "../storage/free-space.ts";
import { StorageError } from "../storage/kv.ts";
import { createLevelKv } from "../storage/level-kv.ts";
import { createNodeFiles } from "../storage/node-files.ts";
import { type Scrub, startScrub } from "../storage/scrub.ts";
import { type DataDirectory, openDataDirectory } from "../storage/store-directory.ts";
import type { Config } from "./config.ts";
import { formatAddress } from "./config-kinds.ts";
import { isLoopbackOnly } from "./config-rules.ts";
import { loadTokens } from "./config-tokens.ts";
import { hashLayout, nodeIdOf, peerListener, recordedNodes, shardCountOf } from "./hash-layout.ts";
import { createHashNetwork } from "./hash-network.ts";
import type { ManagedNode, NodeEffects } from "./lifecycle.ts";
import { createNetwork, type Network, storedCluster } from "./network.ts";
import {
  createRouterMetrics,
  type ShardSampler,
  startShardMetrics,
  tellNode,
} from "./node-metrics.ts";
import { openReplica } from "./open-replica.ts";
import { packageVersion } from "./package-version.ts";
import { noteDamage, putAwayDamaged } from "./rejoin.ts";

const spaceSampleMs = 1_000;
const drainPollMs = 5;

export function createNode(config: Config, effects: NodeEffects): ManagedNode {
  return new QueueNode(config, effects);
}

class QueueNode implements ManagedNode {
  private readonly config: Config;
  private readonly effects: NodeEffects;
  private readonly files = createNodeFiles();
  private readonly replicas: Replica[] = [];
  /** By number; null until its replica is open. The router reads it at every call. */
  private readonly shards: (Shard | null)[];
  private authenticator: Authenticator | null = null;
  private directory: DataDirectory | null = null;
  private router: ShardRouter | null = null;
  private http: HttpServer | null = null;
  private grpc: GrpcServer | null = null;
  private metricsServer: MetricsServer | null = null;
  private processMetrics: ProcessMetrics | null = null;
  private sampler: ShardSampler | null = null;
  private scrub: Scrub | null = null;
  private network: Network | null = null;
  private opening: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(config: Config, effects: NodeEffects) {
    this.config = config;
    this.effects = effects;
    this.shards = new Array<Shard | null>(shardCountOf(config)).fill(null);
  }

  private get nodeId(): string {
    return nodeIdOf(this.config);
  }

  async start(): Promise<void> {
    const { config, effects } = this;
    const { logger, clock, timers } = effects;
    const startedMs = clock.monotonicMs();
    this.authenticator = createAuthenticator({
      tokens: loadTokens(config, effects.configFiles),
      open: isLoopbackOnly(config) || config.insecure,
      producerAsWorker: config.auth.allowProducerAsWorker,
    });
    if (config.rejoin) await putAwayDamaged(this.files, config, logger);
    this.directory = await this.openDirectory();
    const self = this.describe();
    this.network = this.createNetwork(this.directory, self);
    this.router = new ShardRouter({
      ...{ shards: this.shards, clock, timers, nodeId: this.nodeId },
      metrics: createRouterMetrics(effects.metrics),
      ...(this.network && { cluster: this.network.view }),
      otherRequests: (request) => this.network?.requested(request),
    });
    this.processMetrics = startProcessMetrics(effects.metrics);
    this.sampler = startShardMetrics(effects, this.router);
    this.watchSpace();
    this.scrub = startScrub(
      { files: this.files, clock, timers, onCorrupt: (error) => this.fatal(error) },
      () => this.storePaths(),
    );
    if (this.network) await this.network.start((start) => this.openReplicas(start));
    else await this.openReplicas(null);
    await this.listen(this.router, this.authenticator, self);
    const ms = Math.round(clock.monotonicMs() - startedMs);
    logger.info("node serves", { node: this.nodeId, ms, shards: this.shards.length });
  }

  private storePaths(): readonly string[] {
    const { directory, files } = this;
    return (directory?.shards ?? []).map(({ path }) =>
      generationPath(path, readCurrent(files, path)),
    );
  }

  private createNetwork(directory: DataDirectory, self: NodeDescription): Network | null {
    const { config, effects, files, shards } = this;
    const layout = hashLayout(config);
    if (layout) return createHashNetwork(effects, layout, { config, self, directory });
    if (!config.raft.enabled) return null;
    const { path } = config.storage;
    return createNetwork(
      {
        ...{ effects, shards },
        save: (file) => writeClusterFile(files, path, file),
        founded: (start) => {
          this.opening = this.openReplicas(start).catch((error: unknown) => this.fatal(error));
        },
        fatal: (error) => this.fatal(error),
      },
      { config, self, directory, stored: storedCluster(files, directory, path, self) },
    );
  }

  /** At once, or when the node comes to belong to a cluster. */
  private async openReplicas(start: LogStart | null): Promise<void> {
    const { config, effects, files, network, directory, router } = this;
    for (const place of directory?.shards ?? []) {
      const replica = await openReplica(
        {
          ...{ config, effects, files, peers: network?.link ?? null },
          onFatal: (error) => this.fatal(error),
          replaced: (shard) => {
            this.shards[place.shard] = shard;
          },
        },
        place,
        start,
      );
      this.replicas.push(replica);
      this.shards[place.shard] = replica.shard;
    }
    if (!router || this.stopped) return;
    const listener = network?.listener(router) ?? router;
    for (const replica of this.replicas) replica.start(listener);
  }

  private openDirectory(): Promise<DataDirectory> {
    const { config, effects, files } = this;
    const layout = hashLayout(config);
    const shardCount = shardCountOf(config);
    const all = Array.from({ length: shardCount }, (_, i) => toShardId(i));
    return openDataDirectory(
      { files, random: effects.random, openStore: createLevelKv },
      {
        root: config.storage.path,
        shards: layout ? [toShardId(layout.own)] : all,
        expect: {
          nodeId: this.nodeId,
          shardCount,
          clusterNodes: layout ? recordedNodes(layout) : [],
        },
        create: true,
        founded: !config.raft.enabled,
        allowUnsafeFilesystem: config.dev,
      },
    );
  }

  /**
   * The store or the state failed: what is on disk is uncertain, so nothing is answered any more.
   * Thrown outside of any call, it reaches the process's last resort, which ends it.
   */
  private fatal(error: unknown): void {
    if (this.stopped) return;
    this.stopped = true;
    const { raft, storage } = this.config;
    if (raft.enabled && error instanceof StorageError && error.code === "corrupt") {
      noteDamage(this.files, storage.path, error.message);
    }
    this.router?.drain();
    this.effects.timers.soon(() => {
      throw error;
    });
  }

  private watchSpace(): void {
    const { files, config, effects } = this;
    let level = "ok";
    const sample = (): void => {
      if (this.stopped) return;
      const space = sampleFreeSpace(files, config.storage.path);
      this.sampler?.space(space);
      this.router?.setSpaceLevel(space.level);
      if (space.level !== level) {
        const fields = { level: space.level, freeBytes: space.freeBytes };
        effects.logger.warn("free space of the data directory", fields);
        level = space.level;
      }
      effects.timers.after(spaceSampleMs, sample);
    };
    sample();
  }

  /** What others are told of this node. */
  private describe(): NodeDescription {
    const { config, nodeId } = this;
    const { raft, cluster, peers } = config;
    const http = peers.http.find((peer) => peer.id === nodeId)?.url;
    const grpc = peers.grpc.find((peer) => peer.id === nodeId) ?? config.grpc.addr[0];
    const isJoined = raft.enabled || cluster.enabled;
    const nodes = cluster.enabled ? cluster.nodes : raft.peers;
    const listed = nodes.find((peer) => peer.id === nodeId);
    return {
      id: nodeId,
      version: packageVersion(),
      raftEnabled: raft.enabled,
      raftAddr: isJoined ? formatAddress(listed ?? peerListener(config)) : "",
      httpUrl: http ?? `http://${formatAddress(config.http)}`,
      grpcAddr: grpc ? formatAddress(grpc) : "",
    };
  }

  /** What clients are told of the cluster. */
  private nodeInfo(router: ShardRouter, admin: AdminRouter): NodeInfo {
    const { network, nodeId } = this;
    return {
      nodeId,
      nodes: () =>
        admin.clusterNodes().nodes.map(({ id, grpc: grpcAddr, http: httpAddr, shardsLed }) => {
          return { id, grpcAddr, httpAddr, shardsLed };
        }),
      onChange(listener) {
        const stops = [router.onLeadership(listener), network?.onPeers(listener)];
        return () => {
          for (const stop of stops) stop?.();
        };
      },
    };
  }

  private async listen(
    router: ShardRouter,
    authenticator: Authenticator,
    self: NodeDescription,
  ): Promise<void> {
    const { config, effects, network } = this;
    const { clock, timers, random, logger, metrics } = effects;
    const renderMetrics = () => metrics.render();
    const admin = new AdminRouter({
      ...{ routes: router.routes, timers, clock, self },
      admit: (shard) => router.admitSettle(shard, 0),
      peers: () => network?.transport.peers() ?? [],
      ...(network?.places && { places: network.places }),
    });
    this.http = createHttpServer(
      {
        router,
        admin,
        members: network?.members ?? null,
        authenticator,
        clock,
        timers,
        random,
        logger,
        metrics,
        renderMetrics,
      },
      {
        host: config.http.host,
        port: config.http.port,
        nodeId: this.nodeId,
        version: self.version,
        payloadBytes: config.limits.payloadBytes,
        bodyBytes: config.limits.bodyBytes,
        maxAttemptsDefault: config.defaults.maxAttempts,
        leaseSecondsDefault: config.defaults.leaseSeconds,
        corsOrigins: config.http.corsOrigins,
        slowMs: config.http.slowMs,
      },
    );
    this.grpc = createGrpcServer(
      { router, authenticator, clock, timers, logger, node: this.nodeInfo(router, admin) },
      {
        addresses: config.grpc.addr,
        payloadBytes: config.limits.payloadBytes,
        defaultMaxAttempts: config.defaults.maxAttempts,
        defaultLeaseMs: config.defaults.leaseSeconds * 1000,
        slowMs: config.http.slowMs,
      },
    );
    tellNode(metrics, this.nodeId, self.version);
    const { grpc: streams } = this;
    metrics.gaugeFrom("quorumq_grpc_streams", "Open gRPC streams", () => {
      const { producer, worker } = streams.streamCounts;
      return [
        { value: producer, labels: { service: "producer" } },
        { value: worker, labels: { service: "worker" } },
      ];
    });
    const http = await this.http.listen();
    const grpc = await this.grpc.listen();
    const addresses: Record<string, string> = {
      http: `${http.host}:${http.port}`,
      grpc: grpc.join(","),
    };
    const { addr } = config.metrics;
    if (addr) {
      this.metricsServer = createMetricsServer({ random, timers, renderMetrics }, addr);
      const bound = await this.metricsServer.listen();
      addresses["metrics"] = `${bound.host}:${bound.port}`;
    }
    logger.info("node listens", { version: self.version, ...addresses });
  }

  async reloadTokens(): Promise<void> {
    this.authenticator?.replace(loadTokens(this.config, this.effects.configFiles));
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    // Others lead first: no create of anybody waits for the ends of this node's streams.
    await this.network?.handOver();
    this.router?.drain();
    this.http?.drain();
    await Promise.all([
      this.closeGrpc(),
      this.http?.close(limits.drainMs),
      this.metricsServer?.close(),
    ]);
    await this.settleDown();
    // What came back to it meanwhile.
    await this.network?.handOver();
    this.stopped = true;
    await this.opening;
    for (const replica of this.replicas) await replica.close();
    await this.network?.stop();
    await this.directory?.release();
    this.sampler?.stop();
    this.scrub?.stop();
    this.processMetrics?.close();
  }

  /** Streams get the drain's time to end by themselves; then they are cut. */
  private async closeGrpc(): Promise<void> {
    const { grpc } = this;
    if (!grpc) return;
    await new Promise<void>((resolve) => {
      const cut = this.effects.timers.after(limits.drainMs, resolve);
      const ended = () => {
        cut.cancel();
        resolve();
      };
      grpc.drain().then(ended, ended);
    });
    await grpc.close();
  }

  /** Waits until what was accepted is applied; the edges wait for their answers anyway. */
  private async settleDown(): Promise<void> {
    const { clock, timers } = this.effects;
    const until = clock.monotonicMs() + limits.drainMs;
    while (this.shards.some((shard) => shard?.isIdle === false) && clock.monotonicMs() < until) {
      await new Promise<void>((resolve) => timers.after(drainPollMs, resolve));
    }
  }
}
