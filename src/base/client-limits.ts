/** The upper bounds of the client SDK: a part of `limits`, with units and reasons as there. */

const MiB = 1024 * 1024;

export const clientLimits = {
  /** Create frames sent and not yet acknowledged, and their payload bytes. */
  clientWindowFrames: 32,
  clientWindowBytes: 16 * MiB,
  /**
   * Payload bytes of one create or result frame of the SDK, unless one payload alone is larger: a
   * payload over the server's limit then spoils no other task's frame.
   */
  clientFrameBytes: 1 * MiB,
  /** Tasks and payload bytes that wait in a producer for the window: beyond is `overloaded`. */
  clientWaitingTasks: 262_144,
  clientWaitingBytes: 64 * MiB,
  /** Tasks that one worker of the SDK holds: running, fetched ahead, or ended and not settled. */
  clientHeldTasks: 4096,
  /** Bytes of a result that the SDK sends at all: the frame around it must fit into a message. */
  clientResultBytes: 8 * MiB - 64 * 1024,
  /** Ms of the SDK's first wait before it connects or sends again, and of its longest. */
  clientBackoffMs: 100,
  clientBackoffMsMax: 10_000,
  /** Ms until a node that took the connection must have answered a hello: else another one is tried. */
  clientHelloMs: 3_000,
  /**
   * Ms between pings on a stream's connection, and until a missing answer ends it: a node that hangs is
   * told from one that is only slow, and its tasks go elsewhere while their calls still wait.
   */
  clientPingMs: 1_000,
  clientPingAnswerMs: 3_000,
  /** Ms between two looks at what came over a connection: what is silent is cut so much later. */
  clientLookMs: 250,
  /**
   * Refusals with no_leader in a row after which a client looks elsewhere, and ms for which a worker's
   * heartbeats are refused so: the node may be cut off. With the waits between them the refusals take
   * 1.5 to 3 s, longer than an election.
   */
  clientNoLeaderTries: 6,
  clientNoLeaderMs: 2_000,
  /** Ms a stream that did nothing must have lived for the next loss of it to count as the first one. */
  clientSteadyMs: 5_000,
  /** Ms without the ack of a frame after which a client may take its stream for dead. */
  clientAckMs: 10_000,
  /** Ms between the end of a client's stream and the cut of its connection. */
  clientLingerMs: 1_000,
  /** Redirects that the SDK follows for one request (SPEC section 3). */
  clientHops: 3,
  /** Ms for which the SDK believes a list of members: a token goes to no address of long ago. */
  clientMembersMs: 60_000,
  /** Ms without a task after which an idle worker says that its queues are drained. */
  clientDrainedMs: 100,
  /** Tasks that a stream of tasks to create has pulled from its source and not told the end of. */
  clientStreamTasks: 4096,
} as const;
