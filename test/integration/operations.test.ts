/** What deploy/OPERATIONS.md tells to do works, and its table of alerts is that of the rules. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { entry, makeDirectory, type Server, startServer } from "./process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const document = readFileSync(join(root, "deploy/OPERATIONS.md"), "utf8");
const rulesText = readFileSync(join(root, "deploy/prometheus/alerts.yaml"), "utf8");

interface Rules {
  readonly groups: readonly { readonly rules: readonly { alert: string; expr: string }[] }[];
}

const rules = (parse(rulesText) as Rules).groups.flatMap((group) => group.rules);

async function createTask(server: Server): Promise<string> {
  const created = await fetch(`${server.url}/v1/tasks`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ command: "mail", payload: { to: "ada" } }),
  });
  assert.equal(created.status, 202);
  return ((await created.json()) as { id: string }).id;
}

describe("deploy/OPERATIONS.md", () => {
  const directory = makeDirectory();
  after(() => directory.remove());

  const blocks = [...document.matchAll(/^ *```(\w+)\n([\s\S]*?)^ *```$/gm)].map(
    (match) => match[2] ?? "",
  );

  test("the doctor looks at a machine before the first start", () => {
    assert.equal(blocks.length, 2, "every block is run here");
    const config = join(directory.path, "quorumq.yaml");
    writeFileSync(config, "log: {level: warn}\n");
    const script = (blocks[0] ?? "")
      .replace("quorumq doctor", `"${process.execPath}" "${entry}" doctor`)
      .replace("/etc/quorumq/quorumq.yaml", config)
      .replace("/var/lib/quorumq/data", join(directory.path, "not-yet"));
    // the variables of the tests themselves are none of the node's
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("QUORUMQ_")),
    );
    const { stdout, stderr } = spawnSync("bash", ["-euc", script], { encoding: "utf8", env });
    assert.equal(stderr, "");
    for (const name of ["configuration", "machine", "memory", "clock", "file system", "fsync"]) {
      assert.match(stdout, new RegExp(`^(ok|warn|FAIL) +${name}: `, "m"));
    }
    assert.deepEqual(readdirSync(directory.path), ["quorumq.yaml"]);
  });

  test("a copy of a stopped node's directory is a backup", async () => {
    const [data, copy] = ["data", "copy"].map((name) => join(directory.path, name)) as [
      string,
      string,
    ];

    const first = await startServer(data);
    const id = await createTask(first);
    first.signal("SIGTERM");
    assert.equal((await first.ended).code, 0);

    const script = (blocks[1] ?? "")
      .replace("/var/lib/quorumq/data", data)
      .replace("/backup/quorumq-data", copy);
    execFileSync("bash", ["-euc", script]);

    const second = await startServer(copy);
    const found = (await (await fetch(`${second.url}/v1/tasks/${id}`)).json()) as object;
    assert.equal((found as { status: string }).status, "PENDING");
    second.signal("SIGTERM");
    assert.equal((await second.ended).code, 0);
  });

  test("every alert has its row, and no row is dead", () => {
    const told = [...document.matchAll(/^\| (QuorumQ\w+) \|/gm)].map((match) => match[1]);
    assert.deepEqual(
      told,
      rules.map(({ alert }) => alert),
    );
  });

  test("every metric of an alert is one that a node shows", async () => {
    const server = await startServer(join(directory.path, "metrics"));
    await createTask(server); // its queue's metrics are there once there is a queue
    const shown = await (await fetch(`${server.url}/metrics`)).text();
    server.signal("SIGTERM");
    await server.ended;
    const names = [...rulesText.matchAll(/quorumq_[a-z0-9_]+/g)].map(([name]) => name);
    assert.ok(names.length > 8);
    for (const name of names) {
      assert.match(shown, new RegExp(`^${name}[ {]`, "m"));
    }
  });
});
