/** FAULTS 5.4 and SPEC 5 from outside: exit codes, one line per problem, nothing written. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import { type Env, entry, freePorts, makeDirectory, portsEnv, runQuorumq } from "./process.ts";

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
    ["5.4-01 an unknown flag", {}, ["--prot=1"], /"--prot": unknown configuration key/],
    ["5.4-02 a value of another type", { RAFT_ENABLED: "yes" }, [], /raft\.enabled: must be true/],
    ["5.4-02 a malformed port", { PORT: "http" }, [], /http\.port: must be an integer/],
    ["5.4-03 port 0", { PORT: "0" }, [], /http\.port: .*from 1 to 65535/],
    ["5.4-03 port 65536", {}, ["--http.port=65536"], /http\.port: .*from 1 to 65535/],
    ["5.4-03 one port twice", { PORT: "9092" }, [], /grpc\.addr: port 9092 is taken by http/],
    ["5.4-04 a peer twice", { RAFT_PEERS: "n1=127.0.0.1:1,n1=127.0.0.1:2" }, [], /each id .* once/],
    ["5.4-04 a malformed peer", { RAFT_PEERS: "n1=127.0.0.1" }, [], /raft\.peers: .*id=host:port/],
    [
      "5.4-04 a cluster that this node is not in",
      { CLUSTER_ENABLED: "1", CLUSTER_SELF_ID: "n4", CLUSTER_NODES: three },
      [],
      /cluster\.selfId/,
    ],
    [
      "5.4-05 an even number of peers",
      {
        RAFT_ENABLED: "1",
        RAFT_SELF_ID: "n1",
        RAFT_BOOTSTRAP: "1",
        RAFT_PEERS: "n1=127.0.0.1:7001,n2=127.0.0.1:7002",
      },
      [],
      /raft\.peers: an even number of nodes/,
    ],
    ["5.4-06 an election of five heartbeats", { RAFT_HEARTBEAT_MS: "60" }, [], /raft\.electionMs/],
    ["5.4-07 a heartbeat of 9 ms", { RAFT_HEARTBEAT_MS: "9" }, [], /raft\.heartbeatMs: .*10/],
    [
      "5.4-08 a data directory without parent",
      { QUORUMQ_STORAGE_PATH: "no/such/parent" },
      [],
      /storage\.path: .*parent missing/,
    ],
    [
      "5.4-15 a URL with a path",
      { RAFT_PEER_HTTP_ADDRS: "n1=http://h:1/x" },
      [],
      /peers\.http: must be/,
    ],
    [
      "5.4-17 a missing tokens file",
      { AUTH_TOKENS_FILE: "/nowhere.yaml" },
      [],
      /auth\.tokensFile: .*no such file/,
    ],
    [
      "5.4-18 an example secret",
      { QUORUMQ_RAFT_SECRET: "changeme" },
      [],
      /raft\.secret: .*example/,
    ],
    ["5.4-19 an open listener without tokens", { HOST: "0.0.0.0" }, [], /not loopback/],
    ["5.4-25 an unknown variable", { QUORUMQ_PROT: "1" }, [], /"QUORUMQ_PROT": unknown/],
    ["two names that differ", { PORT: "1234", QUORUMQ_HTTP_PORT: "1235" }, [], /differ/],
    ["a missing configuration file", {}, ["--config", "/nowhere.yaml"], /no such file/],
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

  test("5.4-09 a tokens file that everybody can read", async () => {
    const cwd = directory();
    const file = join(cwd, "tokens.yaml");
    writeFileSync(file, "- {token: 0123456789, subject: s, roles: [producer]}\n");
    chmodSync(file, 0o644);
    const { code, stderr } = await runQuorumq(["serve"], { AUTH_TOKENS_FILE: file }, cwd);
    assert.match(stderr, /open to every user; chmod 600/);
    assert.equal(code, 78);
    assert.ok(!existsSync(join(cwd, "data")));
  });

  test("5.4-17 an empty tokens file", async () => {
    const cwd = directory();
    const file = join(cwd, "tokens.yaml");
    writeFileSync(file, "", { mode: 0o600 });
    const { code, stderr } = await runQuorumq(["serve"], { AUTH_TOKENS_FILE: file }, cwd);
    assert.match(stderr, /auth\.tokensFile: .*must be a list of at least one/);
    assert.equal(code, 78);
    assert.ok(!existsSync(join(cwd, "data")));
  });

  test("5.4-10 a data directory in memory, unless it is told that this will do", async (t) => {
    if (!existsSync("/dev/shm")) return t.skip("no /dev/shm here");
    const cwd = mkdtempSync("/dev/shm/quorumq-");
    made.push({ remove: () => rmSync(cwd, { recursive: true }) });
    const { code, stderr } = await runQuorumq(["serve"], portsEnv(await freePorts()), cwd);
    assert.match(stderr, /^quorumq: .* lies on tmpfs, .*--dev/);
    assert.equal(code, 78);
    assert.deepEqual(readdirSync(cwd), []);
  });

  test("5.4-21 a limit of open files that will not do", async () => {
    const cwd = directory();
    const script = `ulimit -n 4095 && exec "$0" "$1" serve`;
    const { status, stderr } = spawnSync("sh", ["-c", script, process.execPath, entry], {
      cwd,
      env: { PATH: process.env["PATH"] ?? "" },
      encoding: "utf8",
    });
    assert.match(stderr, /^quorumq: open files: the limit is 4095, raise it to 4096\n$/);
    assert.equal(status, 78);
    assert.deepEqual(readdirSync(cwd), []);
  });

  test("5.4-08 a data directory that is a file", async () => {
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
