/**
 * Every upper bound of the system, with its unit and its reason. Where a bound can be
 * configured, this is the default and `*Max` the highest value taken.
 */

import { assert } from "./assert.ts";
import { clientLimits } from "./client-limits.ts";

export const KiB = 1024;
export const GiB = 1024 * 1024 * 1024;
export const MiB = 1024 * KiB;

export const limits = {
  /** Bytes of one payload by default; a task is a message, not a file. */
  payloadBytes: 1 * MiB,
  payloadBytesMax: 8 * MiB,
  /** Bytes of one result or error document: the same reason. */
  resultBytes: 1 * MiB,
  /** Bytes of an HTTP body: single routes, and batch routes. */
  bodyBytes: 8 * MiB,
  /** Bytes of one gRPC message in either direction. */
  grpcMessageBytes: 8 * MiB,
  /** Items in one HTTP batch. */
  batchItems: 1000,
  /** Tasks in one claim. */
  claimTasks: 1000,
  /** Encoded bytes of one claim's answer over gRPC: grpc-go's clients refuse more than 4 MiB. */
  claimGrpcBytes: 3.5 * MiB,
  /** Encoded bytes of one claim's answer over HTTP. */
  claimHttpBytes: 8 * MiB,
  /** Queues named in one claim or Ready. */
  claimQueues: 256,
  queueNameChars: 128,
  tenantChars: 63,
  workerIdChars: 128,
  idempotencyKeyBytes: 256,
  webhookChars: 2048,
  traceParentChars: 256,
  traceStateChars: 512,
  reasonBytes: 4 * KiB,
  jsonDepth: 64,
  /** Fields of one object of a request: no route knows more than a dozen. */
  bodyFields: 64,
  priorityMax: 9,
  maxAttemptsMax: 1000,
  leaseSecondsMin: 1,
  leaseSecondsMax: 86_400,
  /** Ten years: longer delays are typing errors. */
  delaySecondsMax: 10 * 365 * 86_400,
  claimWaitSecondsMax: 30,
  resultWaitSecondsMax: 60,
  listPage: 1000,
  listRowsExamined: 20_000,
  /** Bytes of payloads in one page of a list: a page with more ends early. */
  listBytes: 4 * MiB,
  /** Consecutive ids that share a row: the place is one byte. */
  runTasks: 256,
  /** Queues ever named in a shard: each costs 250 bytes of memory for good, 450 with ready tasks. */
  queuesPerShard: 1_000_000,
  /** Tasks that one redrive, purge or cleanup may be limited to. */
  actionTasks: 1_000_000_000,
  /** Ms after which such an action answers with what it did so far: before the connection is cut. */
  actionMs: 60_000,
  /** Tasks that one cleanup removes where its caller names no limit. */
  cleanupTasks: 1000,
  /** Reads of rows of ended tasks that a checkpoint may spoil in a row: each is over in ms, one takes 1 s. */
  retainedTries: 100,
  /** Tasks that one logged step may touch: bounds the time of one apply. */
  stepTasks: 1000,
  /** Commands in one log entry: the lease token has 12 bits for the place. */
  entryCommands: 4096,
  /** Bytes of one log entry, unless one command is larger. */
  entryBytes: 4 * MiB,
  /** Bytes waiting in the proposer of a shard before it refuses with `overloaded`. */
  proposerBytes: 16 * MiB,
  proposerCommands: 65_536,
  /** A settle command takes no further item beyond this, so that entries stay small. */
  draftBytes: 1 * MiB,
  /** Bytes of entries in one append to a follower, unless one entry is larger. */
  appendBytes: 256 * KiB,
  /** Entries in one append or proposal: an entry takes at least 6 of its bytes. */
  appendEntries: 65_536,
  /** Appends under way to one follower. */
  inflightAppends: 256,
  /** Bytes of entries proposed and not yet committed. */
  uncommittedBytes: 64 * MiB,
  /** A checkpoint is due at any of these three (DESIGN section 2). */
  checkpointOps: 5_000,
  checkpointBytes: 1 * MiB,
  checkpointMs: 250,
  /** Memory of unsaved rows per shard, and of clean rows kept for reading. */
  overlayBytes: 8 * MiB,
  windowBytes: 32 * MiB,
  /** Ready rows per shard that are kept in order in memory; the rest is packed, or in the store. */
  windowRows: 100_000,
  /** Payloads of recent runs, so that a claim soon after a create reads nothing. */
  payloadCacheBytes: 16 * MiB,
  /** Log kept below the checkpoint for a follower that is a little behind … */
  logKeepBytes: 64 * MiB,
  /** … and was heard of within so many ms; one that was away for longer gets the whole state. */
  logKeepMs: 60_000,
  /**
   * Bytes of a store's write buffer; two may be in memory at once. 32 MiB keeps level 0 below the
   * 8 files at which each write is slowed (DESIGN section 3). Nodes with many shards take less.
   */
  writeBufferBytes: 32 * MiB,
  writeBufferBytesMin: 1 * MiB,
  /** Table files a store keeps open, each of them mapped: 64 is the least that LevelDB takes. */
  openTables: 64,
  /** How often it is looked whether a store has grown, and after how many written bytes at the least. */
  compactLookMs: 1_000,
  compactWrittenBytes: 128 * MiB,
  /** Bytes on disk beyond twice those after the last compaction that are no reason for another one. */
  compactSlackBytes: 128 * MiB,
  /** Bytes of one piece of a compaction: under a second. */
  compactPieceBytes: 64 * MiB,
  /** Bytes of one table file, flushed write buffers apart: 64 of them are mapped at the most. */
  tableBytes: 2 * MiB,
  /** Bytes in the batch that forms while one is being synced: every caller has its own bound. */
  groupCommitBytes: 128 * MiB,
  /** Bytes of a table file read whole to be checked: a flushed batch over a write buffer, doubled. */
  tableCheckBytes: 384 * MiB,
  /** Callers that wait for the batch that forms. */
  groupCommitCallers: 65_536,
  /** Rows that one turn of a range read takes from the store: bounds the work of one turn. */
  rangeChunkRows: 1000,
  /** Bytes the store reads ahead of one turn of a range read. */
  rangeChunkBytes: 1 * MiB,
  /** Bytes kept free on the data directory's filesystem: max of this and freeReserveShare. */
  freeReserveBytes: 256 * MiB,
  /** Share of the filesystem kept free, 0..1. */
  freeReserveShare: 0.05,
  /** Free bytes below which nothing is written: two write buffers must still find room. */
  freeStopBytes: 64 * MiB,
  /** Bytes of a small file beside the store (header, current): they hold a few names. */
  sealedFileBytes: 64 * KiB,
  /** HTTP/2 window of a client's connection, for all its streams. */
  clientConnectionBytes: 1 * MiB,
  /** Bytes of one stream's frames, with what they take beside, that HTTP/2 holds at once. */
  grpcHandedBytes: 256 * KiB,
  shards: 256,
  /** Tables verified before a store is opened: about half a second. */
  startCheckBytes: 512 * MiB,
  /** The scrub reads everything once a day, slowly, and begins when the start is over. */
  scrubRoundMs: 86_400_000,
  scrubBytesPerSecond: 5 * MiB,
  scrubDelayMs: 60_000,
  /** Queues that have metrics of their own: label sets must not grow with names from outside. */
  metricQueues: 100,
  /** How long a stopping node waits for what is in flight. */
  drainMs: 30_000,
  /** Voters and learners that a founding list may name; SPEC section 5 allows 7 voters. */
  peers: 16,
  /** Seconds that work in flight gets when a node stops (SPEC section 5), and all of stopping. */
  drainSeconds: 30,
  stopSeconds: 40,
  /** Bytes of a configuration or tokens file: some 30,000 tokens. */
  configFileBytes: 8 * MiB,
  /** Waiting claims of one node: each is a small record. */
  waitingClaims: 100_000,
  /** Queues that they name, all together, and different ones: some 16 and 250 bytes each. */
  waitingPlaces: 1_000_000,
  waitingQueues: 250_000,
  /** Callers that wait for one node's results (GET /result with waitSeconds). */
  waitingReads: 20_000,
  /** Sleeps are cut to this: setTimeout overflows at 24.8 days, and clocks drift. */
  timerMsMax: 3_600_000,
  httpHeaderBytes: 16 * KiB,
  httpHeaders: 100,
  httpConnections: 20_000,
  /** Requests on one connection before it is closed: spreads clients after a change of nodes. */
  httpSocketRequests: 10_000,
  /** Requests of one connection that wait behind the one in work: more than clients pipeline. */
  httpPipelinedWaiting: 32,
  /** Ms for which a connection with more is held unread before it is refused. */
  httpPipelinedHoldMs: 1_000,
  /**
   * Bytes of bodies that are coming in, those that come in one piece apart: three of the largest. When
   * there are more the longest one is refused.
   */
  httpBodiesBytes: 24 * MiB,
  /** Bytes of a request's JSON beside its payload: names, key, webhook, trace context. */
  httpEnvelopeBytes: 64 * KiB,
  /** Ms for the header block, and for the whole request, to arrive (slow senders). */
  httpHeadersMs: 10_000,
  httpRequestMs: 30_000,
  /** Ms between the checks of those two. */
  httpCheckMs: 5_000,
  /** Ms without a byte before a connection is cut: longer than the longest wait. */
  httpSilenceMs: 90_000,
  /** Ms an idle connection is kept: longer than common load balancers keep theirs (60 s). */
  httpKeepAliveMs: 72_000,
  /** Ms that requests in flight get when the server closes. */
  httpCloseMs: 30_000,
  /** Origins of other sites that may be allowed to call. */
  corsOrigins: 32,
  /** Lines per second about what was refused, and as many about what was slow; the rest is counted. */
  boundedLines: 50,
  /** Ms from which on a request, or a frame of a stream, is logged as slow, by default. */
  httpSlowMs: 1_000,
  /** A wait ends this many ms before its time (0 to 500 are promised). */
  waitMarginMs: 200,
  /** Tokens of a node: each request's token is compared with all of them. */
  tokens: 256,
  /** Bytes of a token that is looked at: longer ones are no tokens. */
  tokenBytes: 4 * KiB,
  /** Label sets of one metric: labels never come from requests, so a few dozen is plenty. */
  metricSeries: 1024,
  grpcStreamsPerConnection: 1000,
  /** Connections and streams of one node: some 20 KiB of memory each. */
  grpcConnections: 10_000,
  grpcStreams: 20_000,
  /** MiB that one connection's session may hold; grpc-js sets no bound by itself (FAULTS F9). */
  grpcSessionMiB: 64,
  /**
   * Bytes that wait to be written to one stream: beyond the first nothing more is read or claimed,
   * beyond the second its waiting claims are taken back.
   */
  grpcOutboundBytes: 1 * MiB,
  grpcOutboundBytesMax: 8 * MiB,
  /** Bytes and frames of one stream that wait for their acks before reading pauses. */
  grpcInboundBytes: 4 * MiB,
  grpcInboundFrames: 1024,
  /** The same bytes for all streams of a connection, and of the node … */
  grpcInboundBytesConnection: 16 * MiB,
  grpcInboundBytesNode: 32 * MiB,
  /** … beyond which a stream may have so many: the others' acks are not held up by one client. */
  grpcInboundShare: 16 * KiB,
  /** Bytes that wait to be written to all streams of a connection, and of the node … */
  grpcOutboundBytesConnection: 4 * MiB,
  grpcOutboundBytesNode: 32 * MiB,
  /** … beyond which nothing more is read from a stream, or claimed for it, that has so many. */
  grpcOutboundShare: 16 * KiB,
  /**
   * Bytes that a client may send on one stream and that nobody takes: HTTP/2's own choice, and less
   * where a connection has more streams than so many.
   */
  grpcWindowBytes: 64 * KiB - 1,
  grpcWindowBytesCrowd: 16 * KiB,
  grpcCrowdStreams: 32,
  /** Bytes of the queue names that the waiting Readys of a connection hold. */
  grpcNameBytesConnection: 4 * MiB,
  /** Bytes of memory that a frame takes beside its own: one in work, and one that waits. */
  grpcInboundFrameBytes: 1 * KiB,
  grpcOutboundFrameBytes: 1 * KiB,
  /** Bytes of a call's first message: a token and a name. */
  grpcFirstMessageBytes: 64 * KiB,
  /**
   * Bytes of messages that are not whole yet: of one connection, beyond which it goes on with one of
   * them, and of the node, beyond which the connection that holds most loses its own.
   */
  grpcGatheringBytes: 12 * MiB,
  grpcGatheringBytesNode: 64 * MiB,
  /** Tasks of one create batch: what fits into a message, unless they are all but empty. */
  grpcBatchTasks: 524_288,
  /** Readys of one stream that wait for tasks. */
  grpcReadys: 4096,
  /** Ms between the checks of all streams for silence, missing Hellos and tokens taken back. */
  grpcSweepMs: 500,
  /** Seconds after which a stream's token is looked at again: a revoked one is out within 30. */
  grpcTokenSeconds: 15,
  /**
   * Ms between pings on a quiet connection, and until a missing answer closes it. Node neither ends an
   * HTTP/2 session that it refused with GOAWAY nor sees its client leave (found by fuzzing; 20.20):
   * only a ping that stays without an answer frees it and its streams.
   */
  grpcKeepaliveMs: 10_000,
  grpcKeepaliveTimeoutMs: 5_000,
  /** Ms that streams get to say how they end when the server closes. */
  grpcCloseMs: 1_000,
  /** Ms a connection without streams is kept. */
  grpcIdleMs: 600_000,
  /** Seconds a peer may leave written bytes unread before its stream is closed. */
  grpcUnreadSeconds: 30,
  helloSeconds: 5,
  /** Members named in one membership change of a Raft group: groups have seven voters at most. */
  memberChanges: 64,
  /** A learner this many entries behind the commit index can become a voter: under a second's work. */
  caughtUpEntries: 200,
  /** Times that a read's question is put, an election timeout apart, before it fails. */
  readTries: 5,
  /** Requests that a node has passed on and that are not answered. */
  peerCalls: 65_536,
  /** Ms after which such a request is given up; at the most 1.5 times as long. */
  peerCallMs: 10_000,
  /** Ms that a task's end is waited for by the node that has it, on behalf of another one. */
  peerWaitMs: 5_000,
  /** Queues for which claims wait on one node, as far as others are told of them. */
  watchedQueues: 100_000,
  /** Queues named in one frame about work: at most 200 bytes each. */
  watchFrameQueues: 4096,
  /** Ms for which a queue is still watched after the last claim that waited for it. */
  watchIdleMs: 5_000,
  /** Ms that a claim that does not wait gives other nodes to tell what they have. */
  workAskMs: 500,
  /** Ms for which an action on members or leaders is tried. */
  memberActionMs: 15_000,
  /** Ms between two looks at the members' addresses, which change at run time, and at who leads. */
  memberLookMs: 1_000,
  /** Looks in a row without a leader: the members that are known may all have been replaced by then. */
  looksUntilLost: 5,
  /** Ms between two questions of a node that wants to be taken in again. */
  rejoinMs: 500,
  /** Ms that a stopping node waits for others to lead what it led. */
  handOverMs: 2_000,
  /** How often it looks whether it leads anything again. */
  retreatMs: 100,
  /** Ms after which a leader hands over whose write to its disk has not ended while another's has. */
  commitStallMs: 1_000,
  /** How often it is seen to that leaders are spread, and how long a node must have been there. */
  balanceMs: 1_000,
  balanceSteadyMs: 5_000,
  /** Files of one snapshot: a store of 1 TB in tables of 2 MiB would have half as many. */
  snapshotFiles: 1_000_000,
  /** Bytes of one chunk of a snapshot, and chunks sent that the receiver has not written yet. */
  snapshotChunkBytes: 256 * KiB,
  snapshotChunksInFlight: 8,
  /** Ms after which a transfer of a snapshot is given up in which nothing moves. */
  snapshotSilenceMs: 60_000,
  /** Ms until an offer without an answer is given up: it may have come before the replica was there. */
  snapshotOfferMs: 3_000,
  /** Reads that wait for one leader's confirmation; each is a record of a few words. */
  pendingReads: 4096,
  /** A message whose term is this far ahead is a broken one: no group votes 100,000,000 times. */
  raftTermStep: 100_000_000,
  /** What follows the length of a frame between nodes: type, checksum and body. */
  frameBytes: 16 * MiB,
  /**
   * Bytes that wait for one peer on a channel, a lone frame apart. Heartbeats and votes are small;
   * appends are bounded by Raft's window and sent again if they find no room; who sends in bulk
   * waits for room.
   */
  controlWaitingBytes: 1 * MiB,
  appendWaitingBytes: 32 * MiB,
  bulkWaitingBytes: 4 * MiB,
  /** Bytes of one message of the handshake: it carries a few names and addresses. */
  handshakeBytes: 8 * KiB,
  /** Ms from a connection's accept to its proof of the secret. */
  handshakeMs: 1_000,
  /** Ms from dialling to the welcome: the handshake's, and as much for the connection itself. */
  dialMs: 2_000,
  /** Ms before a node is dialled again: the first time, and at the most. */
  redialMs: 20,
  redialMsMax: 1_000,
  /** Ms that a connection must have stood for the next dial to be a first one again. */
  redialSteadyMs: 1_000,
  /** Connections that have not proven the secret: from one address, and all of them. */
  strangersPerAddress: 2,
  strangers: 64,
  /**
   * Election timeouts grow up to so many times their length where lines are slow (raft/pace.ts): a
   * leader that no majority hears steps down within twice that.
   */
  electionGrowth: 4,
  /** Ms without a byte after which a control connection counts as lost; every quarter has a ping. */
  peerSilenceMs: 2_000,
  /** The same for the other channels, where a ping waits behind what is long. */
  peerStallMs: 15_000,
  /** Bytes of one write to a connection, unless one part is longer: `whenBelow` follows in steps. */
  peerWriteBytes: 512 * KiB,
  /** Ms of quiet before TCP itself probes a connection. */
  peerKeepaliveMs: 10_000,
  /** Ms that frames get to leave when the transport closes. */
  peerCloseMs: 500,
  /** Bytes of frames of a peer that is not connected yet, while it is already to it. */
  earlyBytes: 1 * MiB,
  /** A refusal is told once in so many ms for each address and reason, of so many of them. */
  refusalMs: 60_000,
  refusals: 1024,
  ...clientLimits,
} as const;

/** Relations between bounds that the code relies on. */
export function assertLimits(): void {
  assert(limits.runTasks <= 256, "the place of a task in its run is one byte", limits.runTasks);
  assert(limits.entryCommands <= 4096, "12 bits of the lease token", limits.entryCommands);
  assert(limits.payloadBytesMax <= limits.grpcMessageBytes, "a payload fits into a message", 0);
  assert(limits.freeStopBytes >= 2 * limits.writeBufferBytes, "room for both write buffers", 0);
  assert(limits.freeStopBytes < limits.freeReserveBytes / 2, "levels of free space in order", 0);
  assert(limits.drainSeconds < limits.stopSeconds, "closing follows draining", limits.stopSeconds);
  assert(
    limits.grpcGatheringBytes + limits.grpcMessageBytes < limits.grpcGatheringBytesNode,
    "a connection alone is never too much for the node",
    limits.grpcGatheringBytes,
  );
  assert(limits.entryBytes <= limits.proposerBytes, "an entry fits into the proposer", 0);
  assert(limits.appendBytes / 6 <= limits.appendEntries, "the most entries of an append", 0);
  assert(2 * limits.grpcMessageBytes <= limits.frameBytes, "a message fits into a frame", 0);
  assert(limits.peerWaitMs < limits.peerCallMs, "a wait ends before its call is given up", 0);
}
