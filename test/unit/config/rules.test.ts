import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigError } from "../../../src/node/config.ts";
import { loadTokens } from "../../../src/node/config-tokens.ts";
import { filesOf, parse, problemsOf, type World } from "./sources.ts";

const three = "n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003";
const raft = { RAFT_ENABLED: "true", RAFT_SELF_ID: "n1", RAFT_PEERS: three };
const cluster = { CLUSTER_ENABLED: "true", CLUSTER_SELF_ID: "n1", CLUSTER_NODES: three };
const secret = "a-secret-that-is-long-enough";

function raftOf(count: number): Record<string, string> {
  const peers = Array.from({ length: count }, (_, i) => `n${i + 1}=127.0.0.1:${7001 + i}`);
  return { ...raft, RAFT_PEERS: peers.join(",") };
}

describe("the five modes", () => {
  const modes: readonly (readonly [string, Record<string, string>])[] = [
    ["single node", {}],
    ["single node, sharded", { QUORUMQ_STORAGE_NUM_SHARDS: "256" }],
    ["hash-routed cluster", cluster],
    ["Raft, one node", raftOf(1)],
    ["Raft, three nodes", raft],
    ["Raft, five nodes", raftOf(5)],
    ["Raft, seven nodes, sharded", { ...raftOf(7), QUORUMQ_STORAGE_NUM_SHARDS: "8" }],
    ["Raft, two nodes on purpose", { ...raftOf(2), QUORUMQ_RAFT_ALLOW_EVEN: "true" }],
  ];
  for (const [name, env] of modes) {
    test(`takes: ${name}`, () => assert.ok(parse({ env }).config));
  }
});

describe("rules between keys", () => {
  const all = { HOST: "0.0.0.0" };
  const bind = { RAFT_BIND_ADDR: "10.0.0.1:7000" };
  const spread = { ...raft, RAFT_PEERS: "n1=10.0.0.1:7000,n2=10.0.0.2:7000,n3=10.0.0.3:7000" };
  const cases: readonly (readonly [string, World, RegExp])[] = [
    ["both kinds of cluster", { env: { ...raft, ...cluster } }, /^raft\.enabled, cluster\.enabled/],
    [
      "sharded hash-routed cluster",
      { env: { ...cluster, QUORUMQ_STORAGE_NUM_SHARDS: "2" } },
      /^storage\.numShards/,
    ],
    ["5.4-04 self not among peers", { env: { ...raft, RAFT_SELF_ID: "n9" } }, /^raft\.selfId: n9/],
    ["5.4-04 no self", { env: { ...raft, RAFT_SELF_ID: "" } }, /^raft\.selfId: must be set/],
    [
      "self not among cluster nodes",
      { env: { ...cluster, CLUSTER_SELF_ID: "n9" } },
      /^cluster\.selfId/,
    ],
    [
      "5.4-05 even peers",
      { env: { ...raftOf(4), RAFT_BOOTSTRAP: "true" } },
      /^raft\.peers: an even number/,
    ],
    ["nine peers", { env: { ...raftOf(9), RAFT_BOOTSTRAP: "true" } }, /^raft\.peers: at most 7/],
    [
      "interval with several voters",
      { env: { ...raft, QUORUMQ_STORAGE_DURABILITY: "interval" } },
      /^storage\.durability/,
    ],
    [
      "5.4-06 election of five heartbeats",
      { env: { RAFT_HEARTBEAT_MS: "60" } },
      /^raft\.electionMs: 300 must be over 5/,
    ],
    ["5.4-07 heartbeat under 10 ms", { env: { RAFT_HEARTBEAT_MS: "9" } }, /^raft\.heartbeatMs/],
    ["5.4-19 HTTP open to all", { env: all }, /^http\.port 0\.0\.0\.0:8080: not loopback/],
    [
      "5.4-19 gRPC open to all",
      { env: { WORKER_STREAM_ADDR: ":9092" } },
      /^grpc\.addr 0\.0\.0\.0:9092/,
    ],
    [
      "5.4-19 metrics open to all",
      { env: { METRICS_ADDR: "[::]:9091" } },
      /^metrics\.addr \[::\]:9091/,
    ],
    [
      "5.4-03 one port twice",
      { env: { PORT: "9092" } },
      /^grpc\.addr: port 9092 is taken by http\.port/,
    ],
    [
      "5.4-03 Raft port taken",
      { env: { ...raftOf(1), PORT: "7000" } },
      /^raft\.bindAddr: port 7000/,
    ],
    ["no secret", { env: { ...raft, ...bind } }, /^raft\.secret: must be set/],
    [
      "short secret",
      { env: { ...raft, ...bind, QUORUMQ_RAFT_SECRET: "short" } },
      /^raft\.secret: .*16/,
    ],
    [
      "5.4-18 example secret",
      { env: { QUORUMQ_RAFT_SECRET: "changeme" } },
      /^raft\.secret: is an example/,
    ],
    [
      "stranger's URL",
      { env: { ...raft, RAFT_PEER_HTTP_ADDRS: "x=http://h:1" } },
      /^peers\.http: x is not/,
    ],
    [
      "5.4-15 localhost told to others",
      { env: { ...spread, RAFT_PEER_HTTP_ADDRS: "n1=http://localhost:1" } },
      /^peers\.http: n1 at localhost/,
    ],
    [
      "a hash-routed node within others' reach without a secret",
      { env: { ...cluster, CLUSTER_NODES: "n1=10.0.0.1:7000,n2=10.0.0.2:7000" } },
      /^raft\.secret: must be set when cluster\.nodes is not loopback/,
    ],
    [
      "a hash-routed node's port taken twice",
      { env: { ...cluster, PORT: three.replace(/^.*?:(\d+).*$/, "$1") } },
      /^cluster\.nodes: port \d+ is taken by http\.port/,
    ],
    ["bodies under payloads", { argv: ["--limits.bodyBytes=2048"] }, /^limits\.bodyBytes/],
  ];
  for (const [name, world, line] of cases) {
    test(`refuses: ${name}`, () => {
      const problems = problemsOf(world);
      assert.equal(problems.length, 1, problems.join("\n"));
      assert.match(problems[0] ?? "", line);
    });
  }

  test("the number of peers is looked at when a cluster is founded, not later", () => {
    const env = { ...raftOf(2), RAFT_BOOTSTRAP: "true" };
    assert.ok(parse({ env, files: { "data/cluster": "" } }).config);
    // One that joins lists the members and itself.
    assert.ok(parse({ env: raftOf(4) }).config);
  });

  test("open listeners are taken with tokens, or when insecure is set", () => {
    assert.ok(parse({ env: { ...all, AUTH_TOKENS_FILE: "t.yaml" } }).config);
    assert.ok(parse({ env: all, argv: ["--insecure"] }).config);
  });

  test("a Raft listener beyond loopback is taken with a secret", () => {
    assert.ok(parse({ env: { ...raft, ...bind, QUORUMQ_RAFT_SECRET: secret } }).config);
  });
});

describe("the YAML file", () => {
  const refuse = (source: string) =>
    problemsOf({ argv: ["--config=c.yaml"], files: { "c.yaml": source } });

  test("takes every form of a list of peers", () => {
    const list = "raft:\n  peers: [n1=127.0.0.1:7001, n2=127.0.0.1:7002]\n";
    const text = "raft:\n  peers: n1=127.0.0.1:7001,n2=127.0.0.1:7002\n";
    const peersOf = (source: string) =>
      parse({ argv: ["--config=c.yaml"], files: { "c.yaml": source } }).config.raft.peers;
    assert.deepEqual(peersOf(list), peersOf(text));
    assert.equal(peersOf(list).length, 2);
  });

  test("an empty file is no configuration, and fine", () => {
    assert.ok(parse({ argv: ["--config=c.yaml"], files: { "c.yaml": "# nothing\n" } }).config);
  });

  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      "5.4-01 unknown group",
      "htp: {port: 1}",
      /^"htp": unknown configuration key \(file c\.yaml\)/,
    ],
    ["5.4-01 unknown key", "http: {prot: 1}", /^"http\.prot": unknown/],
    ["proto key", "__proto__: {port: 1}", /^"__proto__": unknown/],
    ["5.4-02 a list", "- http", /^c\.yaml: must be a map/],
    ["a group that is no map", "http: 8080", /^http: must be a map/],
    ["5.4-02 port as text", 'http: {port: "8080"}', /^http\.port: must be an integer/],
    ["port empty", "http: {port: }", /^http\.port: must be an integer/],
    ["5.4-02 fraction", "http: {port: 80.5}", /^http\.port: must be an integer/],
    ["5.4-02 boolean as text", 'insecure: "true"', /^insecure: must be true or false/],
    ["5.4-02 name as number", "raft: {selfId: 1}", /^raft\.selfId: .*quotes/],
    ["dotted key", "http.port: 1", /^http\.port: write it as a map/],
    ["key twice", "http: {port: 1}\nhttp: {port: 2}", /^c\.yaml: not valid YAML at line 2/],
    ["not YAML", "http: [", /^c\.yaml: not valid YAML/],
  ];
  for (const [name, source, line] of cases) {
    test(`refuses: ${name}`, () => {
      const problems = refuse(source);
      assert.equal(problems.length, 1, problems.join("\n"));
      assert.match(problems[0] ?? "", line);
    });
  }

  test("refuses aliases that would blow it up", () => {
    const bomb =
      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n";
    assert.match(refuse(bomb).join(), /not usable as YAML/);
  });

  test("5.4-09 refuses a missing file, and a secret in one that everybody can read", () => {
    assert.match(problemsOf({ argv: ["--config=no.yaml"] }).join(), /^config: no\.yaml/);
    const files = { "!c.yaml": `raft: {secret: ${secret}}` };
    assert.match(problemsOf({ argv: ["--config=c.yaml"], files }).join(), /chmod 600/);
  });
});

describe("tokens", () => {
  const long = "0123456789abcdef0123456789abcdef";
  const load = (source: string | null, env: Record<string, string> = {}, name = "t") => {
    const files = source === null ? {} : { [name]: source };
    const { config } = parse({ env: { AUTH_TOKENS_FILE: "t", ...env }, files });
    return loadTokens(config, filesOf(files));
  };
  const refused = (...args: Parameters<typeof load>): string => {
    try {
      load(...args);
    } catch (error) {
      if (error instanceof ConfigError) return error.problems.join("\n");
      throw error;
    }
    throw new Error("the tokens were taken");
  };

  const entry = (token: string) => `- {token: "${token}", subject: s, roles: [producer]}\n`;

  test("come from a YAML or JSON list and from codeQ's two variables", () => {
    const env = { PRODUCER_AUTH_CONFIG: '{"token":"p"}', WORKER_AUTH_CONFIG: '{"token":"w"}' };
    const tokens = load(entry("a"), env);
    assert.deepEqual(
      tokens.map((token) => [token.subject, token.roles.join()]),
      [
        ["producer", "producer"],
        ["worker", "worker"],
        ["s", "producer"],
      ],
    );
    assert.equal(
      load('[{"token": "t", "subject": "json", "roles": ["worker"]}]')[0]?.subject,
      "json",
    );
  });

  test("5.4-17 a file that is missing, open, empty or no list is refused", () => {
    assert.match(refused(null), /^auth\.tokensFile: t: t: no such file/);
    assert.match(refused(entry("a"), {}, "!t"), /^auth\.tokensFile: t: is open to every user/);
    assert.match(refused(""), /must be a list of at least one/);
    assert.match(refused("[]"), /must be a list of at least one/);
    assert.match(refused("token: a"), /must be a list/);
    assert.match(refused("- a"), /tokens\[0\] must be an object/);
    assert.match(refused("- ["), /^auth\.tokensFile: t: not valid YAML/);
  });

  test("every source's problem is named", () => {
    const env = { PRODUCER_AUTH_CONFIG: "{}", WORKER_AUTH_CONFIG: "{}" };
    assert.equal(refused("[]", env).split("\n").length, 3);
    assert.match(refused("[]", env), /^auth\.producerConfig\.token must be/);
  });

  test("5.4-17 a token under 32 bytes is for loopback only, an empty one for nobody", () => {
    assert.equal(load(entry("short")).length, 1);
    assert.match(refused(entry("")), /tokens\[0\]\.token must be/);
    assert.match(
      refused(entry("short"), { HOST: "0.0.0.0" }),
      /tokens\[0\]\.token must have at least 32/,
    );
    assert.equal(load(entry(long), { HOST: "0.0.0.0" }).length, 1);
  });
});
