/** A shard that another node leads, as far as the router needs it: what is offered goes there. */
import type { ShardId, StoreId } from "../base/brand.ts";
import { DecodeError } from "../base/bytes.ts";
import { QueueError } from "../base/errors.ts";
import type { ClaimCommand, Command } from "../queue/command.ts";
import type { Grant } from "../shard/grants.ts";
import type { CommandSink, CreateDraft } from "../shard/proposer.ts";
import { decodeGrants } from "./grant-codec.ts";
import type { PeerAnswer, PeerCalls } from "./peer-calls.ts";
import {
  callKinds,
  decodeDrafted,
  decodeResult,
  encodeCommand,
  encodeDraft,
} from "./remote-codec.ts";

/** Where commands of a shard go: the shard itself, if it is led here, or another node. */
export interface ShardTarget {
  readonly id: ShardId;
  /** Whether so many bytes more can be taken. */
  hasRoom(bytes: number): boolean;
  submit(command: Command, bulkBytes: number, sink: CommandSink): void;
  create(draft: CreateDraft): void;
}

/** What came of a claim that was passed on. */
export type RemoteClaim =
  | { readonly kind: "claimed"; readonly grants: readonly Grant[]; readonly index: number }
  | { readonly kind: "failed"; readonly error: QueueError };

export class RemoteShard implements ShardTarget {
  readonly id: ShardId;
  private readonly calls: PeerCalls;
  private readonly to: StoreId;
  private readonly redirects: boolean;

  /** @param redirects - who asked may be told of another leader; else it is to try again later */
  constructor(id: ShardId, calls: PeerCalls, to: StoreId, redirects: boolean) {
    this.id = id;
    this.calls = calls;
    this.to = to;
    this.redirects = redirects;
  }

  /** Calls are bounded by their number, and refused one by one. */
  hasRoom(): boolean {
    return true;
  }

  submit(command: Command, bulkBytes: number, sink: CommandSink): void {
    this.call(callKinds.command, [encodeCommand(command, bulkBytes)], {
      answered: (body) => sink.done(decodeResult(body)),
      failed: (error) => sink.failed(error),
    });
  }

  create(draft: CreateDraft): void {
    this.call(callKinds.create, encodeDraft(draft), {
      answered: (body) => {
        const { result, runKey, firstPlace } = decodeDrafted(body);
        draft.done(result, runKey, firstPlace);
      },
      failed: (error) => draft.failed(error),
    });
  }

  claim(command: ClaimCommand, done: (outcome: RemoteClaim) => void): void {
    this.call(callKinds.claim, [encodeCommand(command, 0)], {
      answered: (body) => done({ kind: "claimed", ...decodeGrants(body) }),
      failed: (error) => done({ kind: "failed", error }),
    });
  }

  /** A question about the shard. @throws QueueError */
  ask<T>(kind: number, body: Buffer, decode: (body: Buffer) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.call(kind, [body], { answered: (answer) => resolve(decode(answer)), failed: reject });
    });
  }

  private call(kind: number, parts: readonly Uint8Array[], answer: PeerAnswer): void {
    const { calls, to, id: shard } = this;
    calls.call(to, { shard, kind }, parts, {
      ...readable(answer),
      failed: (error) => answer.failed(this.redirects ? error : withoutRedirect(error)),
    });
  }
}

/** Leadership has just moved, and this node will hear of it. */
function withoutRedirect(error: QueueError): QueueError {
  if (error.code !== "not_leader") return error;
  return new QueueError("no_leader", error.message, { retryAfterSeconds: 1 });
}

/** An answer that cannot be read tells nothing of what happened. */
export function readable(answer: PeerAnswer): PeerAnswer {
  return {
    failed: (error) => answer.failed(error),
    answered(body) {
      try {
        answer.answered(body);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        answer.failed(new QueueError("unknown_outcome", "the leader's answer cannot be read"));
      }
    },
  };
}
