/**
 * Places in the code at which a node can be made to die: planted in a copy of what was built, so that
 * the product knows nothing of them. A node dies at the one that its file names.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Env } from "../process.ts";
import type { ClusterNode } from "./cluster.ts";

/** What has to be done for a node to come to a place, and which node does. */
type Scene =
  /** Work goes on. */
  | "leader at work"
  | "follower at work"
  /** Leadership is handed over. */
  | "follower votes"
  /** A follower with an empty disk is taken in: gets the state, becomes a voter. */
  | "newcomer joins"
  | "leader takes in";

export interface Failpoint {
  readonly name: string;
  readonly scene: Scene;
  /** Of the built code. */
  readonly file: string;
  /** One statement of it, found once, … */
  readonly find: string;
  /** … before or after which the node dies. */
  readonly at: "before" | "after";
}

function points(
  scene: Scene,
  file: string,
  ...places: readonly (readonly [name: string, at: "before" | "after", find: string])[]
): Failpoint[] {
  return places.map(([name, at, find]) => ({ name, scene, file, find, at }));
}

const sync = "await batch.write();";
const told = "callers.length = 0;";
const send = "const sent = link.send(message, clock.now(), this.deps.keptFrom());";
const sinks = "this.sinks?.[place]?.done(result);";
const cut = "this.deps.cutLog(batch, applied.index);";

export const failpoints: readonly Failpoint[] = [
  ...points(
    "leader at work",
    "storage/group-commit.js",
    ["leader before sync", "before", sync],
    ["leader after sync", "after", sync],
    ["leader after telling", "before", told],
  ),
  ...points(
    "follower at work",
    "storage/group-commit.js",
    ["follower before sync", "before", sync],
    ["follower after sync", "after", sync],
    ["follower after telling", "before", told],
  ),
  ...points(
    "leader at work",
    "shard/shard.js",
    ["before propose", "before", "const outcome = this.consensus.raft.propose(proposal.data);"],
    ["after propose", "after", "this.proposals.add(outcome.index, outcome.term, proposal.sinks);"],
  ),
  ...points(
    "leader at work",
    "shard/raft-loop.js",
    ["leader before send", "before", send],
    ["leader after send", "after", send],
  ),
  ...points(
    "follower at work",
    "shard/raft-loop.js",
    ["follower before send", "before", send],
    ["follower after send", "after", send],
    ["after step", "before", 'const leads = message.kind === "append"'],
    ["before ready", "before", "const ready = deps.raft.ready();"],
  ),
  ...points(
    "leader at work",
    "shard/append-writer.js",
    ["leader before persist", "before", "const { entries, hardState, responses } = message;"],
    ["leader persisted", "before", "this.deps.deliver(first.responses, first.last);"],
  ),
  ...points(
    "follower at work",
    "shard/append-writer.js",
    ["follower before persist", "before", "const { entries, hardState, responses } = message;"],
    ["follower persisted", "before", "this.deps.deliver(first.responses, first.last);"],
    ["follower answered", "after", "this.deps.deliver(first.responses, first.last);"],
  ),
  ...points(
    "leader at work",
    "shard/applier.js",
    ["before apply", "before", "const result = this.queue.apply("],
    ["after apply", "before", sinks],
    ["after answer", "after", sinks],
  ),
  ...points("follower at work", "shard/applier.js", ["entry applied", "before", "this.entryAt++;"]),
  ...points(
    "leader at work",
    "shard/checkpointer.js",
    ["before checkpoint", "before", "putCheckpoint(state, batch, applied, generation,"],
    ["before log cut", "before", cut],
    ["after log cut", "after", cut],
    ["checkpoint durable", "before", "state.overlay.thaw();"],
  ),
  ...points(
    "follower votes",
    "storage/vote-file.js",
    ["before vote", "before", "this.#writing = this.#slots.save([term, vote])"],
    [
      "after vote",
      "before",
      "this.#writing = undefined;\n        });\n        return this.#writing",
    ],
  ),
  ...points(
    "leader takes in",
    "shard/snapshot-sender.js",
    ["before copy", "before", "copy = copier.copy(storePath);"],
    ["before offer", "before", "const offer = encodeOffer("],
    ["chunk sent", "before", "transfer.at += bytes.length;"],
    ["member done", "before", "this.deps.ended(to, ok);"],
  ),
  ...points("leader takes in", "shard/membership.js", [
    "before change",
    "before",
    "const outcome = raft.proposeConfChange(",
  ]),
  ...points(
    "leader takes in",
    "shard/consensus.js",
    ["before change applies", "before", "const members = this.membership.apply(entry);"],
    ["change applied", "before", "this.membership.applied(entry);"],
  ),
  ...points(
    "newcomer joins",
    "shard/snapshot-receiver.js",
    ["offer taken", "before", 'this.answer(from, id, "going", 0, "");'],
    ["chunk came", "before", "transfer.at += chunk.bytes.length;"],
    ["before install", "before", "await install.finish();"],
    ["before check of state", "before", "await deps.prepare(path, offer.point, check.signal);"],
    ["state handed over", "before", 'this.answer(from, id, "done", transfer.chunks, "");'],
  ),
  ...points(
    "newcomer joins",
    "shard/replica.js",
    ["before switch", "before", "deps.stores.switchToNext();"],
    ["after switch", "after", "deps.stores.switchToNext();"],
  ),
];

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Loaded first: the armed place is read at the start, and again at SIGUSR2. */
const preload = `
const { readFileSync } = require("node:fs");
let armed = "";
function arm() { armed = readFileSync(process.env.FAILPOINT_FILE, "utf8").trim(); }
arm();
process.on("SIGUSR2", arm);
globalThis.failpoint = (name) => {
  if (name !== armed) return;
  process.kill(process.pid, "SIGKILL");
  for (;;);
};
`;

/** A build in which nodes can be told where to die. */
export class FailingBuild {
  private readonly path = mkdtempSync(join(tmpdir(), "quorumq-failpoints-"));

  constructor() {
    cpSync(join(root, "dist"), join(this.path, "dist"), { recursive: true });
    for (const name of ["node_modules", "proto", "package.json"]) {
      symlinkSync(join(root, name), join(this.path, name));
    }
    writeFileSync(join(this.path, "preload.cjs"), preload);
    for (const point of failpoints) this.plant(point);
  }

  private plant({ name, file, find, at }: Failpoint): void {
    const path = join(this.path, "dist", file);
    const text = readFileSync(path, "utf8");
    if (text.split(find).length !== 2) throw new Error(`${name}: its place is not in ${file}`);
    const die = `globalThis.failpoint(${JSON.stringify(name)});`;
    const put = at === "before" ? `${die} ${find}` : `${find} ${die}`;
    writeFileSync(
      path,
      text.replace(find, () => put),
    );
  }

  get script(): string {
    return join(this.path, "dist", "main.cjs");
  }

  private fileOf(nodeId: string): string {
    return join(this.path, `armed-${nodeId}`);
  }

  /** What a node must be started with. */
  env(nodeId: string): Env {
    this.name(nodeId, "");
    return {
      NODE_OPTIONS: `--require ${join(this.path, "preload.cjs")}`,
      FAILPOINT_FILE: this.fileOf(nodeId),
    };
  }

  private name(nodeId: string, name: string): void {
    writeFileSync(this.fileOf(nodeId), name);
  }

  /** The node dies when it comes to that place next; one that is down when it has started and does. */
  arm(node: ClusterNode, { name }: Failpoint): void {
    this.name(node.id, name);
    node.server?.signal("SIGUSR2");
  }

  /** For its next start. */
  disarm(node: ClusterNode): void {
    this.name(node.id, "");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
