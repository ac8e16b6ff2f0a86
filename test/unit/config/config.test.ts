import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { configKeyNames, envName, rowOf } from "../../../src/node/config-keys.ts";
import { describeKeys, formatConfig } from "../../../src/node/config-print.ts";
import { parse, problemsOf } from "./sources.ts";

describe("layers", () => {
  const files = { "q.yaml": "http:\n  port: 8101\n  host: 127.0.0.2\nrouting: forward\n" };

  test("defaults alone are a single node on loopback", () => {
    const { config, origins } = parse({});
    const listener = { host: "127.0.0.1", port: 8080 };
    assert.deepEqual(config.http, { ...listener, corsOrigins: [], slowMs: 1000 });
    assert.deepEqual(config.grpc.addr, [{ host: "127.0.0.1", port: 9092 }]);
    assert.deepEqual(config.metrics.addr, { host: "127.0.0.1", port: 9091 });
    assert.equal(config.storage.durability, "always");
    assert.equal(config.routing, "redirect");
    assert.equal(origins["http.port"], "default");
  });

  test("a file beats defaults, the environment beats the file, a flag beats all", () => {
    const env = { QUORUMQ_CONFIG: "q.yaml", PORT: "8102" };
    const fromFile = parse({ argv: ["--config", "q.yaml"], files });
    assert.equal(fromFile.config.http.port, 8101);
    assert.equal(fromFile.origins["http.port"], "file q.yaml");
    assert.equal(fromFile.config.routing, "forward");
    const fromEnv = parse({ env, files });
    assert.equal(fromEnv.config.http.port, 8102);
    assert.equal(fromEnv.config.http.host, "127.0.0.2");
    assert.equal(fromEnv.origins["http.port"], "env PORT");
    const fromFlag = parse({ argv: ["--http.port=8103"], env, files });
    assert.equal(fromFlag.config.http.port, 8103);
    assert.equal(fromFlag.origins["http.port"], "flag --http.port");
  });

  test("--config beats QUORUMQ_CONFIG", () => {
    const other = { ...files, "o.yaml": "http: {port: 8110}" };
    const parsed = parse({
      argv: ["--config=o.yaml"],
      env: { QUORUMQ_CONFIG: "q.yaml" },
      files: other,
    });
    assert.equal(parsed.config.http.port, 8110);
    assert.equal(parsed.config.routing, "redirect");
  });

  test("every key has one environment name in upper snake case", () => {
    assert.equal(envName("storage.durability"), "QUORUMQ_STORAGE_DURABILITY");
    assert.equal(envName("raft.selfId"), "QUORUMQ_RAFT_SELF_ID");
    assert.equal(envName("routing"), "QUORUMQ_ROUTING");
    assert.equal(new Set(configKeyNames.map(envName)).size, configKeyNames.length);
  });

  test("every key takes what it shows, from the environment and from YAML", () => {
    const samples: Record<string, string> = {
      "peers.http": "n1=http://127.0.0.1:8080",
      "peers.grpc": "n1=127.0.0.1:9092",
      "auth.producerConfig": '{"token":"t"}',
      "auth.workerConfig": '{"token":"t"}',
    };
    for (const key of configKeyNames) {
      const { kind, standard } = rowOf(key);
      const text = samples[key] ?? kind.show(standard);
      const value = kind.fromText(text);
      assert.deepEqual(kind.fromText(kind.show(value)), value, key);
      const isPlain = typeof value === "number" || typeof value === "boolean";
      assert.deepEqual(kind.fromYaml(isPlain ? value : text), value, key);
    }
  });

  test("an empty variable counts as unset", () => {
    assert.equal(parse({ env: { PORT: "", QUORUMQ_HTTP_PORT: "" } }).config.http.port, 8080);
  });

  test("a switch stands alone, or says false", () => {
    assert.equal(parse({ argv: ["--insecure"] }).config.insecure, true);
    assert.equal(
      parse({ argv: ["--insecure=false"], env: { QUORUMQ_INSECURE: "1" } }).config.insecure,
      false,
    );
  });
});

describe("codeQ's names", () => {
  test("work for every value they have", () => {
    const { config } = parse({
      env: {
        PORT: "8111",
        HOST: "localhost",
        PERSISTENCE_CONFIG: '{"path": "/var/q", "numShards": 4}',
        RAFT_ENABLED: "true",
        RAFT_SELF_ID: "n2",
        RAFT_BIND_ADDR: "127.0.0.1:7002",
        RAFT_BOOTSTRAP: "false",
        RAFT_PEERS: "n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003",
        RAFT_PEER_HTTP_ADDRS: "n1=http://127.0.0.1:8081,n2=http://127.0.0.1:8082/",
        RAFT_PEER_GRPC_ADDRS: "n1=127.0.0.1:9081",
        RAFT_HEARTBEAT_MS: "100",
        RAFT_ELECTION_MS: "1000",
        METRICS_ADDR: "off",
        MAX_ATTEMPTS_DEFAULT: "7",
        BACKOFF_POLICY: "fixed",
        BACKOFF_BASE_SECONDS: "0.5",
        BACKOFF_MAX_SECONDS: "60",
        AUTH_TOKENS_FILE: "t.yaml",
        ALLOW_PRODUCER_AS_WORKER: "1",
        PRODUCER_AUTH_PROVIDER: "static",
        PRODUCER_AUTH_CONFIG: '{"token": "secret-token", "subject": "p"}',
      },
    });
    assert.equal(config.storage.path, "/var/q");
    assert.equal(config.storage.numShards, 4);
    assert.deepEqual(config.raft.peers[1], { id: "n2", host: "127.0.0.1", port: 7002 });
    assert.deepEqual(config.peers.http[1], { id: "n2", url: "http://127.0.0.1:8082" });
    assert.deepEqual(config.peers.grpc, [{ id: "n1", host: "127.0.0.1", port: 9081 }]);
    assert.equal(config.raft.electionMs, 1000);
    assert.equal(config.metrics.addr, null);
    assert.equal(config.defaults.backoffBaseSeconds, 0.5);
    assert.equal(config.defaults.maxAttempts, 7);
    assert.deepEqual(config.auth.producerConfig, { token: "secret-token", subject: "p" });
    assert.equal(config.auth.allowProducerAsWorker, true);
  });

  test("one stream address is one listener, two are two", () => {
    const one = parse({ env: { PRODUCER_STREAM_ADDR: "127.0.0.1:9100" } });
    assert.deepEqual(one.config.grpc.addr, [{ host: "127.0.0.1", port: 9100 }]);
    const same = { PRODUCER_STREAM_ADDR: "127.0.0.1:9100", WORKER_STREAM_ADDR: "127.0.0.1:9100" };
    assert.equal(parse({ env: same }).config.grpc.addr.length, 1);
    const two = parse({ env: { ...same, WORKER_STREAM_ADDR: "127.0.0.1:9101" } });
    assert.deepEqual(
      two.config.grpc.addr.map((address) => address.port),
      [9100, 9101],
    );
  });

  test("two names of one key may agree, and are refused when they differ", () => {
    assert.equal(
      parse({ env: { PORT: "8120", QUORUMQ_HTTP_PORT: "8120" } }).config.http.port,
      8120,
    );
    assert.deepEqual(problemsOf({ env: { PORT: "8120", QUORUMQ_HTTP_PORT: "8121" } }), [
      "http.port: env QUORUMQ_HTTP_PORT and env PORT differ; set one of them",
    ]);
    const shards = { QUORUMQ_STORAGE_NUM_SHARDS: "2", PERSISTENCE_CONFIG: '{"numShards": 3}' };
    assert.match(problemsOf({ env: shards })[0] ?? "", /^storage\.numShards: .* differ/);
  });
});

describe("refusals", () => {
  // what is given, and the start of the one line that must come
  const cases: readonly (readonly [string, Parameters<typeof problemsOf>[0], RegExp])[] = [
    [
      "5.4-01 unknown flag",
      { argv: ["--htp.port", "1"] },
      /^"--htp\.port": unknown configuration key$/,
    ],
    ["flag without value", { argv: ["--http.port"] }, /^--http\.port: needs a value$/],
    [
      "flag given twice",
      { argv: ["--http.port=1", "--http.port=1"] },
      /^--http\.port: given twice/,
    ],
    ["stray word", { argv: ["now"] }, /^"now": not a flag/],
    ["secret as a flag", { argv: ["--raft.secret=abc"] }, /^--raft\.secret: secrets come from/],
    [
      "5.4-25 unknown variable",
      { env: { QUORUMQ_PROT: "1" } },
      /^"QUORUMQ_PROT": unknown environment/,
    ],
    [
      "5.4-03 port 0",
      { env: { PORT: "0" } },
      /^http\.port: must be an integer from 1 to 65535, not "0" \(env/,
    ],
    ["5.4-03 port 65536", { env: { PORT: "65536" } }, /^http\.port: must be an integer/],
    ["port with a sign", { env: { PORT: "+80" } }, /^http\.port: must be an integer/],
    ["port in hex", { env: { PORT: "0x50" } }, /^http\.port: must be an integer/],
    [
      "5.4-02 boolean text",
      { env: { RAFT_ENABLED: "yes" } },
      /^raft\.enabled: must be true or false/,
    ],
    [
      "address without port",
      { env: { METRICS_ADDR: "127.0.0.1" } },
      /^metrics\.addr: must be host:port/,
    ],
    ["bare IPv6 address", { env: { METRICS_ADDR: "::1:9091" } }, /^metrics\.addr: .*brackets/],
    [
      "three gRPC listeners",
      { argv: ["--grpc.addr=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"] },
      /^grpc\.addr/,
    ],
    [
      "unknown provider",
      { env: { WORKER_AUTH_PROVIDER: "jwks" } },
      /^auth\.workerProvider: .*static/,
    ],
    [
      "auth config not JSON",
      { env: { WORKER_AUTH_CONFIG: "{" } },
      /^auth\.workerConfig: .*not JSON/,
    ],
    ["persistence not JSON", { env: { PERSISTENCE_CONFIG: "x" } }, /^PERSISTENCE_CONFIG: must be/],
    [
      "persistence field",
      { env: { PERSISTENCE_CONFIG: '{"dir":"x"}' } },
      /^PERSISTENCE_CONFIG: unknown field "dir"/,
    ],
    [
      "shards 0",
      { argv: ["--storage.numShards=0"] },
      /^storage\.numShards: must be an integer from 1/,
    ],
    ["shards 257", { argv: ["--storage.numShards=257"] }, /^storage\.numShards/],
    ["policy", { env: { BACKOFF_POLICY: "magic" } }, /^defaults\.backoffPolicy: must be one of/],
    ["payload over 8 MiB", { argv: ["--limits.payloadBytes=8388609"] }, /^limits\.payloadBytes/],
    ["5.4-04 peer without id", { env: { RAFT_PEERS: "127.0.0.1:7000" } }, /^raft\.peers: must be/],
    ["5.4-04 peer without port", { env: { RAFT_PEERS: "n1=host" } }, /^raft\.peers: must be/],
    ["5.4-04 peer id twice", { env: { RAFT_PEERS: "n1=a:1,n1=b:1" } }, /^raft\.peers: must be/],
    [
      "5.4-04 peer address twice",
      { env: { RAFT_PEERS: "n1=a:1,n2=a:1" } },
      /^raft\.peers: must be/,
    ],
    [
      "5.4-15 peer at every interface",
      { env: { RAFT_PEERS: "n1=0.0.0.0:1" } },
      /^raft\.peers: .*cannot reach/,
    ],
    [
      "5.4-15 URL at every interface",
      { env: { RAFT_PEER_HTTP_ADDRS: "n1=http://0.0.0.0:1" } },
      /^peers\.http: .*cannot reach/,
    ],
    [
      "5.4-15 gRPC address at every interface",
      { env: { RAFT_PEER_GRPC_ADDRS: "n1=[::]:1" } },
      /^peers\.grpc: .*cannot reach/,
    ],
    [
      "5.4-15 URL with a path",
      { env: { RAFT_PEER_HTTP_ADDRS: "n1=http://h:1/x" } },
      /^peers\.http: must be/,
    ],
    ["URL of another scheme", { env: { RAFT_PEER_HTTP_ADDRS: "n1=ftp://h:1" } }, /^peers\.http/],
  ];
  for (const [name, world, line] of cases) {
    test(`refuses: ${name}`, () => {
      const problems = problemsOf(world);
      assert.equal(problems.length, 1, problems.join("\n"));
      assert.match(problems[0] ?? "", line);
    });
  }

  test("names every problem at once", () => {
    assert.equal(problemsOf({ env: { PORT: "0", RAFT_ENABLED: "2", QUORUMQ_X: "1" } }).length, 3);
  });

  test("a line break in a value stays in its line", () => {
    const [line] = problemsOf({ argv: ["--http.host=a\nb: forged"] });
    assert.ok(line !== undefined && !line.includes("\n"));
  });

  test("a refused secret is not repeated", () => {
    const lines = problemsOf({ env: { PRODUCER_AUTH_CONFIG: '"hunter2-hunter2"' } });
    assert.ok(!lines.join().includes("hunter2"));
  });
});

describe("printing", () => {
  const world = {
    env: {
      PORT: "8130",
      QUORUMQ_RAFT_SECRET: "canary-secret",
      PRODUCER_AUTH_CONFIG: '{"token":"canary"}',
    },
  };

  test("shows every key with value and origin, and no secret", () => {
    const text = formatConfig(parse(world), "text");
    for (const key of configKeyNames) assert.match(text, new RegExp(`^${key} `, "m"));
    assert.match(text, /^http\.port +8130 +env PORT$/m);
    assert.match(text, /^raft\.secret +\*+ +env QUORUMQ_RAFT_SECRET$/m);
    assert.ok(!text.includes("canary"));
  });

  test("gives the same as JSON", () => {
    const shown: unknown = JSON.parse(formatConfig(parse(world), "json"));
    const rows = shown as Record<string, { value: unknown; origin: string }>;
    assert.deepEqual(rows["http.port"], { value: 8130, origin: "env PORT" });
    assert.deepEqual(rows["grpc.addr"], { value: "127.0.0.1:9092", origin: "default" });
    assert.deepEqual(Object.keys(rows), configKeyNames);
    assert.ok(!JSON.stringify(rows).includes("canary"));
  });

  test("the help names every key, variable and codeQ name", () => {
    const help = describeKeys();
    for (const key of configKeyNames) {
      for (const name of [key, envName(key), ...rowOf(key).aliases]) assert.ok(help.includes(name));
    }
  });
});
