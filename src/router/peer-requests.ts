/**
 * What other nodes pass on to this one: carried out by the shard, if it is led here, and answered as
 * its caller there would be.
 */
import { unreachable } from "../base/assert.ts";
import type { StoreId } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import { QueueError } from "../base/errors.ts";
import type { ClaimCommand, CommandResult } from "../queue/command.ts";
import { type Grant, grantFromStore, grantInMemory } from "../shard/grants.ts";
import type { Shard } from "../shard/shard.ts";
import { encodeGrants } from "./grant-codec.ts";
import type { PeerRequest } from "./peer-calls.ts";
import {
  callKinds,
  decodeCommand,
  decodeDraft,
  encodeDrafted,
  encodeResult,
} from "./remote-codec.ts";

export interface PeerRequestDeps {
  /** The shard that is led here. @throws QueueError not_leader, no_leader */
  led(shard: number): Shard;
  /** @throws QueueError draining, insufficient_storage, overloaded */
  admitCreate(shard: Shard, bytes: number): void;
  admitSettle(shard: Shard, bytes: number): void;
  admitClaim(shard: Shard): void;
  /** Gives back what could not be delivered. */
  release(grants: readonly Grant[]): void;
  /** A claim of another node is being answered. */
  claimed(from: StoreId, command: ClaimCommand): void;
  /** Kinds of requests that are not about a shard's log. */
  other(request: PeerRequest): void;
}

/** @throws QueueError @throws DecodeError */
export function carryOut(deps: PeerRequestDeps, request: PeerRequest): void {
  const { kind } = request;
  if (kind === callKinds.create) create(deps, request);
  else if (kind === callKinds.command) submit(deps, request);
  else if (kind === callKinds.claim) claim(deps, request);
  else deps.other(request);
}

function create(deps: PeerRequestDeps, request: PeerRequest): void {
  const tasks = decodeDraft(request.body);
  const shard = deps.led(request.shard);
  deps.admitCreate(shard, tasks.records.length);
  shard.create({
    ...tasks,
    done: (result, runKey, firstPlace) => {
      request.reply([encodeDrafted(result, runKey, firstPlace)]);
    },
    failed: (error) => request.refuse(error),
  });
}

function submit(deps: PeerRequestDeps, request: PeerRequest): void {
  const command = decodeCommand(request.body);
  const shard = deps.led(request.shard);
  const { length } = request.body;
  switch (command.kind) {
    case "create":
      deps.admitCreate(shard, length);
      break;
    case "settle":
    case "cancel":
    case "redrive":
    case "purge":
    case "pause":
      deps.admitSettle(shard, length);
      break;
    case "claim":
    case "expire":
    case "configure":
    case "raiseTokens":
      throw new DecodeError(`a ${command.kind} is not passed on`);
    default:
      unreachable(command);
  }
  shard.submit(command, length, {
    done: (result) => request.reply([encodeResult(result)]),
    failed: (error) => request.refuse(error),
  });
}

function claim(deps: PeerRequestDeps, request: PeerRequest): void {
  const command = decodeCommand(request.body);
  if (command.kind !== "claim") throw new DecodeError(`a ${command.kind} as a claim`);
  const shard = deps.led(request.shard);
  deps.admitClaim(shard);
  if (!hasWork(shard, command)) {
    // Nothing is logged for a claim that came too late.
    request.reply([encodeGrants([], shard.consensus.raft.commitIndex)]);
    deps.claimed(request.from, command);
    return;
  }
  shard.submit(command, request.body.length, {
    done: (result) => claimed(deps, request, { shard, command, result }),
    failed: (error) => request.refuse(error),
  });
}

function hasWork({ state }: Shard, { tenant: name, queues }: ClaimCommand): boolean {
  const tenant = state.tenants.get(name);
  if (!tenant) return false;
  if (queues === null) return tenant.claimable.some((list) => list.length > 0);
  return queues.some((queueName) => {
    const queue = tenant.queues.get(queueName);
    return queue !== undefined && !queue.paused && queue.readyTotal > 0;
  });
}

interface Claimed {
  readonly shard: Shard;
  readonly command: ClaimCommand;
  readonly result: CommandResult;
}

function claimed(
  deps: PeerRequestDeps,
  request: PeerRequest,
  { shard, command, result }: Claimed,
): void {
  const index = shard.consensus.raft.commitIndex;
  const tasks = result.kind === "claimed" ? result.grants : [];
  const { workerId } = command;
  const answer = (grants: readonly Grant[]) => {
    // A connection that is gone is known here at once: nobody waits for the leases to run out.
    if (!request.reply([encodeGrants(grants, index)])) deps.release(grants);
    deps.claimed(request.from, command);
  };
  const grants = tasks.map((claimedTasks) => grantInMemory(shard, claimedTasks, workerId));
  if (grants.every((grant) => grant !== null)) {
    answer(grants);
    return;
  }
  Promise.all(grants.map((grant, i) => grant ?? read(shard, tasks[i], workerId)))
    .then((all) => answer(all.filter((grant) => grant !== null)))
    .catch((error: unknown) => shard.fail(error));
}

type ClaimedTasks = Parameters<typeof grantFromStore>[1];

function read(
  shard: Shard,
  tasks: ClaimedTasks | undefined,
  workerId: string,
): Promise<Grant | null> {
  return tasks ? grantFromStore(shard, tasks, workerId) : Promise.resolve(null);
}

/** For kinds that this version does not know. */
export function unknownKind(request: PeerRequest): void {
  request.refuse(new QueueError("invalid_argument", `unknown kind of request ${request.kind}`));
}
