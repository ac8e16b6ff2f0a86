/**
 * Takes the whole state from the leader: writes the files into a new generation beside the store in
 * force, checks every record, and makes it fit: what the copied log held beyond the rows is not
 * taken, the log begins anew at the rows' index. Only then the replica is asked to go on from it.
 *
 * idle → receiving (chunks in order) → checking → handed over, or idle again with nothing left
 */
import type { StoreId } from "../base/brand.ts";
import type { Logger, TimerHandle, Timers } from "../base/effects.ts";
import { limits } from "../base/limits.ts";
import type { StoreCopier, StoreInstall } from "../storage/store-copy.ts";
import type { AppliedPoint } from "./checkpoint.ts";
import type { GroupLink } from "./peer-link.ts";
import { shardFrames } from "./replica-frames.ts";
import {
  encodeAnswer,
  type SnapshotAnswer,
  type SnapshotChunk,
  type SnapshotOffer,
} from "./snapshot-frames.ts";

export interface SnapshotReceiverDeps {
  readonly link: GroupLink;
  readonly copier: StoreCopier;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Where the next generation is made. */
  readonly nextPath: () => string;
  /** Why this offer is not taken, "" if it is. */
  readonly refusal: (from: StoreId, point: AppliedPoint, bytes: number) => string;
  /** Whether the log holds that entry by now: then the state brings nothing new. */
  readonly hasEntry: (point: AppliedPoint) => boolean;
  /**
   * Opens what was received, checks and mends it, and closes it.
   * @throws StorageError; the signal's reason, once nobody wants it any more
   */
  readonly prepare: (path: string, point: AppliedPoint, signal: AbortSignal) => Promise<void>;
  /** The replica goes on from what was received. */
  readonly handOver: (point: AppliedPoint) => void;
}

interface Transfer {
  readonly id: number;
  readonly from: StoreId;
  readonly offer: SnapshotOffer;
  readonly path: string;
  readonly install: StoreInstall;
  file: number;
  at: number;
  chunks: number;
  /** Writes follow one another. */
  writing: Promise<void>;
  timer: TimerHandle | null;
  /** Ends the check of what has been given up. */
  readonly check: AbortController;
}

export class SnapshotReceiver {
  private readonly deps: SnapshotReceiverDeps;
  private transfer: Transfer | null = null;
  /** What was given up and is not off the disk yet: all are made in the same place, one at a time. */
  private leaving: Promise<void> | null = null;
  /** The offer that waits for that. */
  private waiting: SnapshotOffer | null = null;
  private stopped = false;

  constructor(deps: SnapshotReceiverDeps) {
    this.deps = deps;
  }

  offered(from: StoreId, offer: SnapshotOffer): void {
    const { deps } = this;
    const { point, files, transfer: id } = offer;
    if (this.stopped) return;
    if (deps.hasEntry(point)) {
      this.answer(from, id, "done", 0, "it is here already");
      return;
    }
    let bytes = 0;
    for (const file of files) bytes += file.bytes;
    const refusal = deps.refusal(from, point, bytes);
    if (refusal !== "") {
      this.answer(from, id, "refused", 0, refusal);
      return;
    }
    // Whoever sent what was under way may come to lead again, and must not wait for it.
    if (this.transfer) this.refuse(this.transfer, "another one begins");
    if (this.leaving) {
      this.waiting = offer;
      void this.leaving.then(() => {
        if (this.waiting === offer) this.offered(from, offer);
      });
      return;
    }
    this.waiting = null;
    const path = deps.nextPath();
    deps.logger.info("takes the state from the leader", { from, index: point.index, bytes });
    const transfer: Transfer = {
      id,
      from,
      offer,
      path,
      install: deps.copier.install(path),
      file: 0,
      at: 0,
      chunks: 0,
      writing: Promise.resolve(),
      timer: null,
      check: new AbortController(),
    };
    this.transfer = transfer;
    this.watch(transfer);
    this.skipEmpty(transfer);
    this.answer(from, id, "going", 0, "");
  }

  chunk(from: StoreId, chunk: SnapshotChunk): void {
    const { transfer } = this;
    if (!transfer || transfer.from !== from || transfer.id !== chunk.transfer) {
      // Its sender would wait for long, and serve nobody else.
      this.answer(from, chunk.transfer, "refused", 0, "no such transfer");
      return;
    }
    const file = transfer.offer.files[transfer.file];
    const { length } = chunk.bytes;
    // An empty one moves nothing, and would keep the transfer alive for ever.
    const fits = file && length > 0 && chunk.at + length <= file.bytes;
    if (!fits || chunk.file !== transfer.file || chunk.at !== transfer.at) {
      this.refuse(transfer, "a chunk out of its place");
      return;
    }
    transfer.at += chunk.bytes.length;
    transfer.chunks++;
    const { chunks } = transfer;
    this.watch(transfer);
    this.skipEmpty(transfer);
    const isLast = transfer.file === transfer.offer.files.length;
    transfer.writing = transfer.writing
      .then(() => transfer.install.write(file, chunk.bytes))
      .then(() => {
        if (this.transfer !== transfer) return undefined;
        if (isLast) return this.finish(transfer);
        this.answer(from, transfer.id, "going", chunks, "");
        return undefined;
      })
      .catch((error: unknown) => this.refuse(transfer, String(error)));
  }

  /** To the next file that still misses bytes. */
  private skipEmpty(transfer: Transfer): void {
    const { files } = transfer.offer;
    while (transfer.file < files.length && transfer.at === files[transfer.file]?.bytes) {
      transfer.file++;
      transfer.at = 0;
    }
  }

  private async finish(transfer: Transfer): Promise<void> {
    const { deps } = this;
    const { install, path, from, id, offer, check } = transfer;
    transfer.timer?.cancel();
    await install.finish();
    await deps.prepare(path, offer.point, check.signal);
    if (this.transfer !== transfer || this.stopped) return;
    this.transfer = null;
    if (deps.hasEntry(offer.point)) install.discard();
    else deps.handOver(offer.point);
    this.answer(from, id, "done", transfer.chunks, "");
  }

  private watch(transfer: Transfer): void {
    transfer.timer?.cancel();
    transfer.timer = this.deps.timers.after(limits.snapshotSilenceMs, () => {
      if (this.transfer === transfer) this.refuse(transfer, "the sender is silent");
    });
  }

  private refuse(transfer: Transfer, reason: string): void {
    if (this.transfer !== transfer) return;
    this.discard(reason);
    this.answer(transfer.from, transfer.id, "refused", transfer.chunks, reason);
  }

  private discard(reason: string): void {
    const { transfer } = this;
    if (!transfer) return;
    this.transfer = null;
    transfer.timer?.cancel();
    transfer.check.abort();
    this.deps.logger.warn("gives up a state that was coming", { from: transfer.from, reason });
    // It may be written to or checked at this moment, up to the next rows.
    const left = transfer.writing
      .catch(() => undefined)
      .then(() => transfer.install.discard())
      .finally(() => {
        if (this.leaving === left) this.leaving = null;
      });
    this.leaving = left;
  }

  private answer(
    to: StoreId,
    transfer: number,
    kind: SnapshotAnswer["kind"],
    chunks: number,
    reason: string,
  ): void {
    const body = encodeAnswer({ transfer, kind, chunks, reason });
    // If it is lost the sender's silence ends the transfer.
    this.deps.link.sendBulk(to, shardFrames.snapshotAnswer, [body]);
  }

  peerGone(storeId: StoreId): void {
    if (this.transfer?.from === storeId) this.discard("the connection is gone");
  }

  /** Resolves when nothing of a transfer is left on the disk. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.transfer) this.refuse(this.transfer, "the replica stops");
    await this.leaving;
  }
}
