/**
 * Gives another replica the whole state: a copy of the store's files as they were between two
 * batches, in chunks, while writes go on. One transfer of a shard at a time; at most a few chunks are
 * under way, so that neither side's memory grows.
 *
 * idle → sending (offer, then chunks as the receiver writes them) → idle, done or failed.
 */
import type { StoreId } from "../base/brand.ts";
import type { Logger, Random, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { GroupCommit } from "../storage/group-commit.ts";
import type { StoreCopier, StoreCopy } from "../storage/store-copy.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import type { GroupLink } from "./peer-link.ts";
import { shardFrames } from "./replica-frames.ts";
import { encodeChunk, encodeOffer, type SnapshotAnswer } from "./snapshot-frames.ts";

export interface SnapshotSenderDeps {
  readonly link: GroupLink;
  readonly commit: Pick<GroupCommit, "between">;
  readonly copier: StoreCopier;
  readonly storePath: string;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** What the last durable checkpoint holds. */
  readonly savedPoint: () => AppliedPoint | null;
  readonly ended: (to: StoreId, ok: boolean) => void;
}

interface Transfer {
  readonly id: number;
  readonly to: StoreId;
  copy: StoreCopy | null;
  /** Next chunk. */
  file: number;
  at: number;
  sent: number;
  written: number;
  reading: boolean;
  timer: TimerHandle | null;
}

export class SnapshotSender {
  private readonly deps: SnapshotSenderDeps;
  private transfer: Transfer | null = null;

  constructor(deps: SnapshotSenderDeps) {
    this.deps = deps;
  }

  /** Begins a transfer. @returns false if another one is under way */
  send(to: StoreId): boolean {
    if (this.transfer) return false;
    const { random, commit } = this.deps;
    const id = Math.floor(random.unit() * Number.MAX_SAFE_INTEGER);
    const transfer: Transfer = {
      id,
      to,
      copy: null,
      file: 0,
      at: 0,
      sent: 0,
      written: 0,
      reading: false,
      timer: null,
    };
    this.transfer = transfer;
    this.watch(transfer, limits.snapshotSilenceMs);
    commit.between(() => this.offer(transfer));
    return true;
  }

  private offer(transfer: Transfer): void {
    if (this.transfer !== transfer) return;
    const { copier, storePath, link, savedPoint, logger } = this.deps;
    const point = savedPoint();
    if (!point) {
      this.end(false, "nothing is saved yet");
      return;
    }
    let copy: StoreCopy;
    try {
      copy = copier.copy(storePath);
    } catch (error) {
      // Its own store is as it was: only the member has to wait.
      this.end(false, String(error));
      return;
    }
    transfer.copy = copy;
    const { id, to } = transfer;
    let bytes = 0;
    for (const file of copy.files) bytes += file.bytes;
    logger.info("sends its state to a member", { to, index: point.index, bytes });
    const offer = encodeOffer({ transfer: id, point, files: copy.files });
    if (!link.sendBulk(to, shardFrames.snapshotOffer, [offer])) this.end(false, "not connected");
    else this.watch(transfer, limits.snapshotOfferMs);
  }

  answered(from: StoreId, answer: SnapshotAnswer): void {
    const { transfer } = this;
    if (!transfer || transfer.to !== from || transfer.id !== answer.transfer) return;
    if (answer.kind !== "going") {
      this.end(answer.kind === "done", answer.reason);
      return;
    }
    transfer.written = Math.max(transfer.written, answer.chunks);
    this.watch(transfer, limits.snapshotSilenceMs);
    this.sendMore(transfer);
  }

  private sendMore(transfer: Transfer): void {
    const { copy } = transfer;
    if (!copy || transfer.reading || transfer !== this.transfer) return;
    if (transfer.sent - transfer.written >= limits.snapshotChunksInFlight) return;
    let file = copy.files[transfer.file];
    while (file && transfer.at >= file.bytes) {
      transfer.file++;
      transfer.at = 0;
      file = copy.files[transfer.file];
    }
    if (!file) return;
    transfer.reading = true;
    copy
      .read(file, transfer.at, limits.snapshotChunkBytes)
      .then((bytes) => this.sendChunk(transfer, bytes))
      .catch((error: unknown) => {
        if (this.transfer === transfer) this.end(false, String(error));
      });
  }

  private sendChunk(transfer: Transfer, bytes: Buffer): void {
    transfer.reading = false;
    if (this.transfer !== transfer) return;
    const { id, to, file, at } = transfer;
    const parts = encodeChunk({ transfer: id, file, at, bytes });
    if (!this.deps.link.sendBulk(to, shardFrames.snapshotChunk, parts)) {
      // Full for the moment, or gone: what is under way tells.
      this.deps.link.whenBulkBelow(to, limits.snapshotChunkBytes, () => this.sendMore(transfer));
      return;
    }
    transfer.at += bytes.length;
    transfer.sent++;
    this.sendMore(transfer);
  }

  /** A transfer in which nothing moves is given up. */
  private watch(transfer: Transfer, silenceMs: number): void {
    transfer.timer?.cancel();
    transfer.timer = this.deps.timers.after(silenceMs, () => {
      if (this.transfer === transfer) this.end(false, "the receiver is silent");
    });
  }

  peerGone(storeId: StoreId): void {
    if (this.transfer?.to === storeId) this.end(false, "the connection is gone");
  }

  private end(ok: boolean, reason: string): void {
    const { transfer } = this;
    if (!transfer) return;
    this.transfer = null;
    transfer.timer?.cancel();
    transfer.copy?.close();
    const { to } = transfer;
    if (ok) this.deps.logger.info("a member took the state", { to });
    else this.deps.logger.warn("a member did not take the state", { to, reason });
    this.deps.ended(to, ok);
  }

  stop(): void {
    this.transfer?.timer?.cancel();
    this.transfer?.copy?.close();
    this.transfer = null;
  }
}
