/** FAULTS 5.4 and SPEC 5 from outside: exit codes, one line per problem, nothing written. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import { type Env, makeDirectory, runQuorumq } from "./process.ts";

const made: { remove(): void }[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) directory.remove();
});

function directory(): string {
  const one = makeDirectory();
  made.push(one);
  return one.path;
}

const three = "n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003";

describe("the command line", () => {
  test("without a sub-command, or with a wrong one: help on stderr, exit 64", async () => {
    for (const args of [[], ["sevre"], ["--port"]]) {
      const { code, stdout, stderr } = await runQuorumq(args);
      assert.equal(code, 64);
      assert.equal(stdout, "");
      assert.match(stderr, /^Usage: quorumq/m);
    }
  });

  test("help and version go to stdout, exit 0", async () => {
    for (const args of [["--help"], ["serve", "--help"], ["config", "--help"], ["--version"]]) {
      const { code, stdout, stderr } = await runQuorumq(args);
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, args.includes("--version") ? /^\d+\.\d+\.\d+\n$/ : /quorumq/);
    }
  });

  test("config prints values with their origins, as text and as JSON", async () => {
    const env = { PORT: "8181", QUORUMQ_RAFT_SECRET: "canary-canary-canary" };
    const text = await runQuorumq(["config"], env);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /^http\.port +8181 +env PORT$/m);
    const json = await runQuorumq(["config", "--json", "--http.port=8182"], env);
    const rows = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual(rows["http.port"], { value: 8182, origin: "flag --http.port" });
    assert.ok(!`${text.stdout}${json.stdout}`.includes("canary"));
  });
});

describe("serve refuses with exit 78 and one line, and writes nothing", () => {
  // name, environment, flags, the line
  const cases: readonly (readonly [string, Env, readonly string[], RegExp])[] = [
    ["an unknown variable", { QUORUMQ_PROT: "1" }, [], /"QUORUMQ_PROT": unknown/],
    ["an unknown flag", {}, ["--prot=1"], /"--prot": unknown configuration key/],
    ["a malformed port", { PORT: "http" }, [], /http\.port: must be an integer/],
    ["two names that differ", { PORT: "1234", QUORUMQ_HTTP_PORT: "1235" }, [], /differ/],
    ["an open listener without tokens", { HOST: "0.0.0.0" }, [], /not loopback/],
    ["a missing configuration file", {}, ["--config", "/nowhere.yaml"], /no such file/],
    [
      "a missing tokens file",
      { AUTH_TOKENS_FILE: "/nowhere.yaml" },
      [],
      /auth\.tokensFile: .*no such file/,
    ],
    [
      "a data directory without parent",
      { QUORUMQ_STORAGE_PATH: "no/such/parent" },
      [],
      /parent missing/,
    ],
    [
      "a hash-routed cluster that this node is not in",
      { CLUSTER_ENABLED: "1", CLUSTER_SELF_ID: "n4", CLUSTER_NODES: three },
      [],
      /cluster\.selfId/,
    ],
  ];
  for (const [name, env, flags, line] of cases) {
    test(name, async () => {
      const cwd = directory();
      const { code, stdout, stderr } = await runQuorumq(["serve", ...flags], env, cwd);
      assert.match(stderr, line);
      assert.equal(code, 78, stderr);
      assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
      assert.equal(stdout, "");
      assert.deepEqual(readdirSync(cwd), []);
    });
  }

  test("a tokens file that everybody can read", async () => {
    const cwd = directory();
    const file = join(cwd, "tokens.yaml");
    writeFileSync(file, "- {token: 0123456789, subject: s, roles: [producer]}\n");
    chmodSync(file, 0o644);
    const { code, stderr } = await runQuorumq(["serve"], { AUTH_TOKENS_FILE: file }, cwd);
    assert.match(stderr, /open to every user; chmod 600/);
    assert.equal(code, 78);
    assert.ok(!existsSync(join(cwd, "data")));
  });

  test("a data directory that is a file", async () => {
    const cwd = directory();
    writeFileSync(join(cwd, "data"), "");
    const { code, stderr } = await runQuorumq(["serve"], {}, cwd);
    assert.match(stderr, /storage\.path: \/.*\/data: not a directory/);
    assert.equal(code, 78);
  });

  test("a configuration file that is a directory", async () => {
    const cwd = directory();
    mkdirSync(join(cwd, "c.yaml"));
    const { code, stderr } = await runQuorumq(["serve", "--config=c.yaml"], {}, cwd);
    assert.match(stderr, /config: c\.yaml: not a file/);
    assert.equal(code, 78);
  });
});
