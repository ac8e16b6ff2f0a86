/** R4 of the catalogue of process faults: a node is killed at a place in its code, and comes again. */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { addMember, removeMember, votersAre } from "./admin.ts";
import { Cluster, type ClusterNode } from "./cluster.ts";
import { FailingBuild, type Failpoint, failpoints } from "./failpoints.ts";
import { Ledger } from "./ledger.ts";

const all = process.env["QUORUMQ_ITEST"] === "all";
const rounds = all ? 3 : 1;
/** Those that everybody runs: before and after what must not come in another order. */
const often = new Set([
  "leader before sync",
  "leader after sync",
  "follower before sync",
  "follower persisted",
  "leader after send",
  "after apply",
  "checkpoint durable",
  "after vote",
  "before switch",
  "change applied",
]);
const build = new FailingBuild();
let cluster: Cluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

after(() => build.remove());

async function begin(): Promise<readonly [Cluster, Ledger]> {
  const started = await Cluster.start({ script: build.script, envOf: (id) => build.env(id) });
  cluster = started;
  const ledger = new Ledger(started, 200);
  ledger.start(2, 2);
  await ledger.progress(20);
  return [started, ledger];
}

/** Resolves when the node is dead by its own hand. */
async function death(node: ClusterNode, { name }: Failpoint): Promise<void> {
  const { server } = node;
  assert.ok(server);
  const timer = setTimeout(() => server.signal("SIGTERM"), 15_000);
  const { code } = await server.ended;
  clearTimeout(timer);
  node.server = null;
  assert.equal(code, "SIGKILL", `${name}: it never came there`);
  build.disarm(node);
}

async function atWork(world: Cluster, point: Failpoint): Promise<void> {
  const leads = point.scene === "leader at work";
  const victim = leads ? await world.leader() : (await world.followers())[0];
  assert.ok(victim);
  build.arm(victim, point);
  await death(victim, point);
  await victim.start();
}

async function atVote(world: Cluster, point: Failpoint): Promise<void> {
  const [victim, next] = await world.followers();
  assert.ok(victim && next);
  build.arm(victim, point);
  const transfer = fetch(`${next.url}/v1/admin/leader/transfer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ to: next.id }),
  });
  await death(victim, point);
  await transfer;
  await victim.start();
}

/** A follower loses its disk and is taken in again; it or the leader dies in the middle. */
async function atJoin(world: Cluster, point: Failpoint): Promise<void> {
  const leader = await world.leader();
  const [newcomer, other] = await world.followers();
  assert.ok(newcomer && other);
  await removeMember(leader, newcomer.id);
  await newcomer.kill();
  newcomer.wipe();
  const victim = point.scene === "newcomer joins" ? newcomer : leader;
  build.arm(victim, point);
  await newcomer.launch({ RAFT_BOOTSTRAP: "false" });
  const added = addMember(other, newcomer).catch(() => undefined);
  await death(victim, point);
  await added;
  await (victim === newcomer ? victim.launch({ RAFT_BOOTSTRAP: "false" }) : victim.start());
  // what was cut short may be asked for again
  await addMember(other, newcomer);
  await votersAre(world, other, ["n1", "n2", "n3"]);
  await newcomer.ready();
}

const runs = {
  "leader at work": atWork,
  "follower at work": atWork,
  "follower votes": atVote,
  "newcomer joins": atJoin,
  "leader takes in": atJoin,
} as const;

const scenes = Object.keys(runs) as (keyof typeof runs)[];
// with few places of each scene one cluster does for all of them
for (const group of all ? scenes.map((scene) => [scene]) : [scenes]) {
  test(`R4: a node dies at places of the code (${group.join(", ")}); nothing is lost`, async (t) => {
    const points = failpoints.filter(
      ({ name, scene }) => group.includes(scene) && (all || often.has(name)),
    );
    const [world, ledger] = await begin();
    for (let round = 0; round < rounds; round++) {
      for (const point of points) {
        await runs[point.scene](world, point);
        await ledger.progress(20);
      }
    }
    await ledger.verify();
    t.diagnostic(`${points.length} places, ${rounds} times each`);
  });
}

test("R4: there are thirty places and more, each with a name of its own", () => {
  const names = new Set(failpoints.map(({ name }) => name));
  assert.equal(names.size, failpoints.length);
  assert.ok(names.size >= 30);
  for (const name of often) assert.ok(names.has(name), name);
});
