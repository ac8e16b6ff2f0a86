/** `recover --accept-loss` on stores of a lone node that are really damaged. */
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Ended, type Env, launchServer, runQuorumq, startServer } from "../process.ts";
import { Tasks } from "./tasks.ts";

const isLong = process.env["QUORUMQ_ITEST"] === "all";
const root = mkdtempSync("/var/tmp/quorumq-recover-");
/** A store with tables and a log file, as a killed node leaves it. */
const whole = join(root, "whole");
const tasks = new Tasks();
const total = 600;

before(async () => {
  mkdirSync(whole);
  // Each start writes what the log file held into a table.
  for (let i = 0; i < 3; i++) {
    const server = await startServer(whole);
    await tasks.fill(server, total / 3);
    server.signal("SIGKILL");
    await server.ended;
  }
});

after(() => rmSync(root, { recursive: true, force: true }));

function recover(path: string, flags: readonly string[], env: Env = {}): Promise<Ended> {
  const settings = { QUORUMQ_STORAGE_PATH: path, QUORUMQ_DEV: "true", ...env };
  return runQuorumq(["recover", ...flags], settings);
}

let number = 0;

/** A copy of the store, hurt. */
function hurt(how: (shard: string, store: string) => void): string {
  const path = join(root, `hurt-${number++}`);
  cpSync(whole, path, { recursive: true });
  const shard = join(path, "shard-0");
  how(shard, join(shard, "db-1"));
  return path;
}

function filesOf(store: string, form: RegExp): string[] {
  return readdirSync(store)
    .filter((name) => form.test(name))
    .sort()
    .map((name) => join(store, name));
}

function flip(path: string, at: number, bit = 3): void {
  const bytes = readFileSync(path);
  const place = Math.floor(at) % bytes.length;
  bytes[place] = (bytes[place] as number) ^ (1 << bit);
  writeFileSync(path, bytes);
}

/** Whether a node starts from it; it is ended again. */
async function starts(path: string): Promise<number | string> {
  const server = await launchServer(path);
  let isOver = false;
  const ready = async () => {
    while (!isOver) {
      const answer = await fetch(`${server.url}/readyz`).catch(() => null);
      if (answer?.ok) return 0;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return 0;
  };
  const code = await Promise.race([ready(), server.ended.then((end) => end.code)]);
  isOver = true;
  server.signal("SIGKILL");
  await server.ended;
  return code;
}

/** Recovers, starts, and looks at every task. @returns what became of them */
async function comesBack(path: string): Promise<{ text: string; found: Map<string, number> }> {
  const done = await recover(path, ["--accept-loss", "--yes"]);
  assert.equal(done.code, 0, done.stderr + done.stdout);
  const server = await startServer(path);
  try {
    const found = await tasks.look(server);
    await tasks.counts(server);
    await tasks.drain(server);
    return { text: done.stdout, found };
  } finally {
    server.signal("SIGKILL");
    await server.ended;
  }
}

describe("a store that is whole", () => {
  test("is left as it is", async () => {
    const path = hurt(() => undefined);
    const done = await recover(path, ["--accept-loss", "--yes"]);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /nothing is damaged/);
    const server = await startServer(path);
    assert.deepEqual([...(await tasks.look(server))], [["same", total]]);
    server.signal("SIGKILL");
    await server.ended;
  });
});

describe("without --yes", () => {
  test("it is said what would be lost, and nothing is changed", async () => {
    const path = hurt((_, store) => flip(filesOf(store, /\.ldb$/)[0] as string, 3000));
    assert.equal(await starts(path), 74);
    const planned = await recover(path, ["--accept-loss"]);
    assert.equal(planned.code, 3, planned.stderr);
    assert.match(planned.stdout, /shard 0: damaged: table .*: checksum of the block/);
    assert.match(planned.stdout, /shard 0: kept: \d+ tasks in 3 queues/);
    assert.match(planned.stdout, /Nothing was changed\. The same command with --yes does it\./);
    assert.equal(await starts(path), 74);
    assert.deepEqual(readdirSync(join(path, "shard-0")).sort(), [
      ...["current", "db-1", "fence", "header", "vote"],
    ]);
  });

  test("without a purpose it is a usage error, and without a store one of configuration", async () => {
    assert.equal((await recover(whole, [])).code, 64);
    assert.equal((await recover(whole, ["--yes"])).code, 64);
    assert.equal((await recover(join(root, "nowhere"), ["--accept-loss"])).code, 78);
    const other = await recover(whole, ["--accept-loss"], { QUORUMQ_STORAGE_NUM_SHARDS: "2" });
    assert.equal(other.code, 78, other.stderr);
  });

  test("a directory that a node has open is left alone", async () => {
    const path = hurt(() => undefined);
    const server = await startServer(path);
    const refused = await recover(path, ["--accept-loss", "--yes"]);
    assert.equal(refused.code, 78);
    assert.match(refused.stderr, /in use by another process/);
    server.signal("SIGKILL");
    await server.ended;
  });
});

describe("bits that flipped in tables", () => {
  for (const seed of isLong ? Array.from({ length: 40 }, (_, i) => i + 1) : [1, 2]) {
    test(`take what they hit, and no more: ${seed}`, async () => {
      let state = seed;
      const random = () => {
        state = (state * 48_271) % 0x7fff_ffff;
        return state / 0x7fff_ffff;
      };
      const path = hurt((_, store) => {
        const tables = filesOf(store, /\.ldb$/);
        for (let i = 0; i < 4; i++) {
          const table = tables[Math.floor(random() * tables.length)] as string;
          flip(table, random() * statSync(table).size, Math.floor(random() * 8));
        }
      });
      assert.equal(await starts(path), 74);
      const { found } = await comesBack(path);
      const same = found.get("same") ?? 0;
      assert.ok(same > total * 0.7, JSON.stringify([...found]));
    });
  }
});

describe("files that are gone or broken", () => {
  const cases: readonly (readonly [string, (shard: string, store: string) => void, number])[] = [
    ["the vote", (shard) => writeFileSync(join(shard, "vote"), Buffer.alloc(8192)), 1],
    ["all of the vote", (shard) => rmSync(join(shard, "vote")), 1],
    ["the fence", (shard) => rmSync(join(shard, "fence")), 1],
    ["the header", (shard) => flip(join(shard, "header"), 60), 1],
    ["current", (shard) => rmSync(join(shard, "current")), 1],
    ["the store's CURRENT", (_, store) => rmSync(join(store, "CURRENT")), 1],
    ["its MANIFEST", (_, store) => flip(filesOf(store, /^MANIFEST/)[0] as string, 30), 0.9],
    ["a table", (_, store) => rmSync(filesOf(store, /\.ldb$/)[0] as string), 0.3],
    [
      "half of a table",
      (_, store) => {
        const table = filesOf(store, /\.ldb$/)[0] as string;
        truncateSync(table, Math.floor(statSync(table).size / 2));
      },
      0.3,
    ],
    ["the log file", (_, store) => rmSync(filesOf(store, /\.log$/)[0] as string), 0.5],
    ["all of the store", (_, store) => rmSync(store, { recursive: true }), 0],
    ["all of the shard", (shard) => rmSync(shard, { recursive: true }), -1],
  ];
  const shortForm = [
    "all of the vote",
    "the header",
    "its MANIFEST",
    "half of a table",
    "all of the",
  ];
  const isChosen = (name: string) => isLong || shortForm.some((start) => name.startsWith(start));
  for (const [name, how, share] of cases.filter(([name]) => isChosen(name))) {
    test(`${name}: what is left is served`, async () => {
      const path = hurt(how);
      if (share < 0) {
        // Nothing tells that there was a queue: that is no damage, but another directory.
        assert.equal((await recover(path, ["--accept-loss", "--yes"])).code, 78);
        return;
      }
      assert.equal(await starts(path), 74);
      const { found, text } = await comesBack(path);
      const same = found.get("same") ?? 0;
      assert.ok(same >= total * share, JSON.stringify([...found]) + text);
      if (share === 1) assert.equal(same, total, text);
    });
  }

  test("a log file with a broken middle: the log ends at the gap", async () => {
    const path = hurt((_, store) => {
      const log = filesOf(store, /\.log$/)[0] as string;
      flip(log, statSync(log).size / 2);
    });
    assert.equal(await starts(path), 74);
    const { found, text } = await comesBack(path);
    assert.match(text, /damaged: .*dropping \d+ bytes/);
    assert.match(text, /lost: .*what else the damaged parts held, which nothing tells/);
    assert.ok((found.get("same") ?? 0) >= total / 2, JSON.stringify([...found]));
  });
});

test("what is not kept is put aside, the damaged store with it", async () => {
  const path = hurt((_, store) => {
    const table = filesOf(store, /\.ldb$/)[0] as string;
    const { size } = statSync(table);
    for (let i = 1; i < 20; i++) flip(table, (size * i) / 20);
  });
  const before = filesOf(join(path, "shard-0", "db-1"), /\.ldb$/).map((file) => readFileSync(file));
  const { text } = await comesBack(path);
  const aside = join(path, "aside-1", "shard-0");
  assert.ok(text.includes(join(path, "aside-1")));
  const records = readFileSync(join(aside, "records.jsonl"), "utf8").trim().split("\n");
  assert.ok(records.length > 3);
  for (const line of records) assert.ok((JSON.parse(line) as { why: string }).why.length > 0);
  const kept = filesOf(join(aside, "store"), /\.ldb$/).map((file) => readFileSync(file));
  for (const bytes of before) assert.ok(kept.some((other) => other.equals(bytes)));
});

test("one that was cut short is done again; no node starts in between", async () => {
  const path = hurt((_, store) => flip(filesOf(store, /\.ldb$/)[0] as string, 3000));
  writeFileSync(join(path, "recovering"), "");
  const server = await launchServer(path);
  const ended = await server.ended;
  assert.equal(ended.code, 74);
  assert.match(ended.stderr + ended.stdout, /recover was cut short; run it again/);
  await comesBack(path);
  assert.ok(!existsSync(join(path, "recovering")));
});
