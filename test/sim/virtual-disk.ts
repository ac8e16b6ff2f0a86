/**
 * A disk that survives crashes of the node on it, and that fails as real ones with LevelDB 1.20 on
 * them were seen to fail (FAULTS 3.4). Files and stores live in one tree of directories; what is
 * durable is kept apart from what is merely written.
 *
 * All chance comes from `unit`, all delay from `schedule`, so one seed gives one history.
 */
import { StorageError } from "../../src/storage/kv.ts";
import { flipBit } from "./flip-bit.ts";
import { VirtualStore } from "./virtual-store.ts";

export interface VirtualDiskEffects {
  /** Uniform in 0 ≤ x < 1, seeded. */
  unit(): number;
  /** Calls back later in virtual time; operations of one store complete in any order it likes. */
  schedule(callback: () => void): void;
}

export interface VirtualFile {
  readonly kind: "file";
  data: Buffer;
  /** Writes that have begun and may or may not reach the disk. */
  readonly inFlight: Set<SlotWrite>;
}

export interface SlotWrite {
  readonly at: number;
  readonly bytes: Buffer;
}

export interface VirtualDirectory {
  readonly kind: "directory";
  entries: Map<string, VirtualNode>;
  /** The names that a power cut leaves. */
  durable: Map<string, VirtualNode>;
  /** The key-value store in this directory, if one was made there. */
  store: VirtualStore | undefined;
}

export type VirtualNode = VirtualFile | VirtualDirectory;

export type CrashKind =
  | "kill" // the process ends; what was written stays
  | "power"; // only what was synced stays for sure

export class VirtualDisk {
  readonly effects: VirtualDiskEffects;
  /** Raised by each crash; handles of an earlier one are dead. */
  epoch = 0;
  /** Writes fail for want of space. */
  full = false;
  /** Syncs that will fail. */
  failingSyncs = 0;
  totalBytes = 100 * 1024 ** 3;
  freeBytes = 50 * 1024 ** 3;
  /** ext4 */
  filesystemType = 0xef53;
  readonly root: VirtualDirectory = newDirectory();

  constructor(effects: VirtualDiskEffects) {
    this.effects = effects;
  }

  /** Ends everything that was open. The disk can be opened again at once. */
  crash(kind: CrashKind): void {
    this.epoch++;
    this.failingSyncs = 0;
    this.#crashNode(this.root, kind);
  }

  /** Takes one of the syncs that are to fail. */
  takeSyncFailure(): boolean {
    if (this.failingSyncs === 0) return false;
    this.failingSyncs--;
    return true;
  }

  chance(probability: number): boolean {
    return this.effects.unit() < probability;
  }

  find(path: string): VirtualNode | undefined {
    let node: VirtualNode | undefined = this.root;
    for (const name of namesOf(path)) {
      if (node?.kind !== "directory") return undefined;
      node = node.entries.get(name);
    }
    return node;
  }

  directory(path: string): VirtualDirectory {
    const node = this.find(path);
    if (node?.kind === "directory") return node;
    throw new StorageError("missing", `${path}: no such directory`);
  }

  file(path: string): VirtualFile {
    const node = this.find(path);
    if (node?.kind === "file") return node;
    throw new StorageError("missing", `${path}: no such file`);
  }

  parent(path: string): { readonly directory: VirtualDirectory; readonly name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new StorageError("io", `${path}: has no parent`);
    return { directory: this.directory(`/${names.join("/")}`), name };
  }

  /** The store at a path. */
  store(path: string): VirtualStore {
    const { store } = this.directory(path);
    if (store === undefined) throw new StorageError("missing", `${path}: no store`);
    return store;
  }

  /** The store at a path, made if there is none. */
  makeStore(path: string): VirtualStore {
    const directory = this.directory(path);
    directory.store ??= new VirtualStore(this);
    return directory.store;
  }

  /** Puts lines into the store's own LOG, as LevelDB's recovery does. */
  appendStoreLog(path: string, line: string): void {
    const { entries, durable } = this.directory(path);
    const old = entries.get("LOG");
    const before = old?.kind === "file" ? old.data : Buffer.alloc(0);
    const file = newFile(Buffer.concat([before, Buffer.from(`${line}\n`)]));
    entries.set("LOG", file);
    durable.set("LOG", file);
  }

  /** Flips one bit of a file. */
  rotFile(path: string): void {
    flipBit(this.file(path).data, this.effects.unit());
  }

  #crashNode(node: VirtualNode, kind: CrashKind): void {
    if (node.kind === "file") {
      for (const write of node.inFlight) this.#crashSlotWrite(node, write, kind);
      node.inFlight.clear();
      return;
    }
    node.store?.crash();
    if (kind === "power") this.#crashNames(node);
    for (const child of node.entries.values()) this.#crashNode(child, kind);
  }

  /** A write that was on its way: nothing of it, all of it, or, after a power cut, a first part. */
  #crashSlotWrite(file: VirtualFile, write: SlotWrite, kind: CrashKind): void {
    if (this.chance(0.5)) return;
    const whole = kind === "kill" || this.chance(0.5);
    const size = whole ? write.bytes.length : Math.floor(this.effects.unit() * write.bytes.length);
    file.data.set(write.bytes.subarray(0, size), write.at);
  }

  /** Names that were not synced are the old ones, or by chance all the new ones. */
  #crashNames(directory: VirtualDirectory): void {
    if (this.chance(0.5)) directory.durable = new Map(directory.entries);
    else directory.entries = new Map(directory.durable);
  }
}

export function newDirectory(): VirtualDirectory {
  return { kind: "directory", entries: new Map(), durable: new Map(), store: undefined };
}

export function newFile(data: Buffer): VirtualFile {
  return { kind: "file", data, inFlight: new Set() };
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}
