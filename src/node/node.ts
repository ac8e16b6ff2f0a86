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
import type { Settings } from "../queue/command.ts";
import { AdminRouter, type NodeDescription } from "../router/admin-router.ts";
import { ShardRouter } from "../router/shard-router.ts";
import type { ShardOptions } from "../shard/shard.ts";
import { Shard } from "../shard/shard.ts";
import { createFenceFile } from "../storage/fence-file.ts";
import { sampleFreeSpace } from "../storage/free-space.ts";
import { createGroupCommit } from "../storage/group-commit.ts";
import type { Kv } from "../storage/kv.ts";
import { createLevelKv } from "../storage/level-kv.ts";
import { createNodeFiles } from "../storage/node-files.ts";
import { checkTablesAtStart, type Scrub, startScrub } from "../storage/scrub.ts";
import {
  type DataDirectory,
  openDataDirectory,
  type ShardDirectory,
} from "../storage/store-directory.ts";
import { checkStoreLog } from "../storage/store-log.ts";
import { createVoteFile } from "../storage/vote-file.ts";
import type { Config } from "./config.ts";
import { isLoopbackOnly } from "./config-rules.ts";
import { loadTokens } from "./config-tokens.ts";
import type { ManagedNode, NodeEffects } from "./lifecycle.ts";
import {
  createCommitMetrics,
  createRouterMetrics,
  type ShardSampler,
  startShardMetrics,
} from "./node-metrics.ts";
import { packageVersion } from "./package-version.ts";

const spaceSampleMs = 1_000;
const drainPollMs = 5;

export function createNode(config: Config, effects: NodeEffects): ManagedNode {
  return new QueueNode(config, effects);
}

class QueueNode implements ManagedNode {
  private readonly config: Config;
  private readonly effects: NodeEffects;
  private readonly files = createNodeFiles();
  private readonly stores: Kv[] = [];
  private readonly shards: Shard[] = [];
  private authenticator: Authenticator | null = null;
  private directory: DataDirectory | null = null;
  private router: ShardRouter | null = null;
  private http: HttpServer | null = null;
  private grpc: GrpcServer | null = null;
  private metricsServer: MetricsServer | null = null;
  private processMetrics: ProcessMetrics | null = null;
  private sampler: ShardSampler | null = null;
  private scrub: Scrub | null = null;
  private stopped = false;

  constructor(config: Config, effects: NodeEffects) {
    this.config = config;
    this.effects = effects;
  }

  private get nodeId(): string {
    return this.config.raft.selfId || this.config.cluster.selfId || "node1";
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
    this.directory = await this.openDirectory();
    for (const directory of this.directory.shards) await this.openShard(directory);
    const metrics = createRouterMetrics(effects.metrics);
    this.router = new ShardRouter({
      shards: this.shards,
      clock,
      timers,
      nodeId: this.nodeId,
      metrics,
    });
    this.processMetrics = startProcessMetrics(effects.metrics);
    this.sampler = startShardMetrics(effects, this.shards, this.router);
    this.watchSpace();
    this.scrub = startScrub(
      { files: this.files, clock, timers, onCorrupt: (error) => this.fatal(error) },
      this.directory.shards.map((shard) => shard.kvPath),
    );
    for (const shard of this.shards) shard.start(this.router);
    await this.listen(this.router, this.authenticator);
    const ms = Math.round(clock.monotonicMs() - startedMs);
    logger.info("node serves", { node: this.nodeId, ms, shards: this.shards.length });
  }

  private openDirectory(): Promise<DataDirectory> {
    const { config, effects, files } = this;
    const count = config.storage.numShards;
    return openDataDirectory(
      { files, random: effects.random, openStore: createLevelKv },
      {
        root: config.storage.path,
        shards: Array.from({ length: count }, (_, i) => toShardId(i)),
        expect: { nodeId: this.nodeId, shardCount: count, clusterNodes: [] },
        create: true,
        allowUnsafeFilesystem: config.dev,
      },
    );
  }

  private async openShard(directory: ShardDirectory): Promise<void> {
    const { effects, files } = this;
    const { clock, timers, random, logger } = effects;
    checkTablesAtStart(files, directory.kvPath, limits.startCheckBytes);
    const kv = await createLevelKv(directory.kvPath, { createIfMissing: false });
    this.stores.push(kv);
    checkStoreLog(files, directory.kvPath);
    const onFatal = (error: unknown) => this.fatal(error);
    const metrics = createCommitMetrics(effects.metrics, directory.shard);
    const shard = await Shard.open(
      {
        kv,
        commit: createGroupCommit({ kv, clock, metrics, onFatal }),
        vote: createVoteFile(files, directory.path),
        fence: createFenceFile(files, directory.path),
        clock,
        timers,
        random,
        logger,
        onFatal,
      },
      this.shardOptions(directory),
    );
    this.shards.push(shard);
  }

  private shardOptions(directory: ShardDirectory): ShardOptions {
    const { storage, raft } = this.config;
    return {
      shard: directory.shard,
      shardCount: storage.numShards,
      storeId: directory.identity.storeId,
      settings: settingsOf(this.config),
      durability:
        storage.durability === "always"
          ? { kind: "always" }
          : { kind: "interval", ms: storage.intervalMs },
      tickMs: raft.heartbeatMs,
      electionTicks: Math.ceil(raft.electionMs / raft.heartbeatMs),
    };
  }

  /**
   * The store or the state failed: what is on disk is uncertain, so nothing is answered any more.
   * Thrown outside of any call, it reaches the process's last resort, which ends it.
   */
  private fatal(error: unknown): void {
    if (this.stopped) return;
    this.stopped = true;
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
    return {
      id: nodeId,
      version: packageVersion(),
      raftEnabled: raft.enabled,
      raftAddr: raft.enabled || cluster.enabled ? addressOf(raft.bindAddr) : "",
      httpUrl: http ?? `http://${addressOf(config.http)}`,
      grpcAddr: addressOf(grpc),
    };
  }

  /** What clients are told of the cluster: of one node, itself. */
  private nodeInfo(router: ShardRouter, self: NodeDescription): NodeInfo {
    return {
      nodeId: self.id,
      nodes: () => [
        {
          id: self.id,
          grpcAddr: self.grpcAddr,
          httpAddr: self.httpUrl,
          shardsLed: router.health().shards.flatMap((s) => (s.role === "leader" ? [s.shard] : [])),
        },
      ],
      onChange: (listener) => router.onLeadership(listener),
    };
  }

  private async listen(router: ShardRouter, authenticator: Authenticator): Promise<void> {
    const { config, effects } = this;
    const { clock, timers, random, logger, metrics } = effects;
    const renderMetrics = () => metrics.render();
    const self = this.describe();
    const admin = new AdminRouter({
      shards: this.shards,
      timers,
      self,
      admit: (shard) => router.admitSettle(shard, 0),
    });
    this.http = createHttpServer(
      { router, admin, authenticator, clock, timers, random, logger, metrics, renderMetrics },
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
      { router, authenticator, clock, timers, logger, node: this.nodeInfo(router, self) },
      {
        addresses: config.grpc.addr,
        payloadBytes: config.limits.payloadBytes,
        defaultMaxAttempts: config.defaults.maxAttempts,
        defaultLeaseMs: config.defaults.leaseSeconds * 1000,
      },
    );
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
      this.metricsServer = createMetricsServer({ random, renderMetrics }, addr);
      const bound = await this.metricsServer.listen();
      addresses["metrics"] = `${bound.host}:${bound.port}`;
    }
    logger.info("node listens", addresses);
  }

  async reloadTokens(): Promise<void> {
    this.authenticator?.replace(loadTokens(this.config, this.effects.configFiles));
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.router?.drain();
    this.http?.drain();
    await Promise.all([
      this.closeGrpc(),
      this.http?.close(limits.drainMs),
      this.metricsServer?.close(),
    ]);
    await this.settleDown();
    this.stopped = true;
    for (const shard of this.shards) await shard.close();
    for (const store of this.stores) await store.close();
    await this.directory?.release();
    this.sampler?.stop();
    this.scrub?.stop();
    this.processMetrics?.close();
  }

  /** Streams get the drain's time to end by themselves; then they are cut. */
  private async closeGrpc(): Promise<void> {
    const { grpc } = this;
    if (!grpc) return;
    const { timers } = this.effects;
    await new Promise<void>((resolve) => {
      const cut = timers.after(limits.drainMs, resolve);
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
    while (this.shards.some((shard) => !shard.isIdle) && clock.monotonicMs() < until) {
      await new Promise<void>((resolve) => timers.after(drainPollMs, resolve));
    }
  }
}

/** host:port, an IPv6 address in brackets. */
function addressOf(at: { readonly host: string; readonly port: number } | undefined): string {
  if (!at) return "";
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}

function settingsOf(config: Config): Settings {
  const { defaults, retention } = config;
  return {
    backoffPolicy: defaults.backoffPolicy,
    backoffBaseMs: Math.round(defaults.backoffBaseSeconds * 1000),
    backoffMaxMs: Math.round(defaults.backoffMaxSeconds * 1000),
    doneRetentionMs: retention.doneSeconds * 1000,
    deadRetentionMs: retention.deadSeconds * 1000,
  };
}
