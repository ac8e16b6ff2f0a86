/**
 * The files of deploy/ do what they say: every YAML parses, the environments of compose, Kubernetes and
 * systemd are configurations that a node takes and a cluster is founded by, their probes get answers,
 * and nginx (where it is installed) leads clients to the cluster.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { createProducer } from "../../src/client/index.ts";
import { Cluster, type ClusterNode } from "./cluster/cluster.ts";
import {
  byName,
  type Container,
  composeServices,
  deployFiles,
  podEnv,
  read,
  root,
  type Service,
  unitOf,
} from "./deploy.ts";
import {
  type Env,
  freePort,
  freePorts,
  launchServer,
  makeDirectory,
  type Ports,
  runQuorumq,
  type Server,
  startServer,
  untilReady,
} from "./process.ts";

const directory = makeDirectory();
const secret = "0123456789abcdef".repeat(4);
after(() => directory.remove());

/** What `quorumq config` makes of an environment. @throws AssertionError when it refuses it */
async function configOf(env: Env): Promise<Readonly<Record<string, unknown>>> {
  const { code, stdout, stderr } = await runQuorumq(["config", "--json"], env);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** Of Node itself, in the package's own `start`. */
const flagsOfStart: readonly string[] =
  /^node (.*) dist\/main\.cjs serve$/
    .exec((JSON.parse(read("package.json")) as { scripts: { start: string } }).scripts.start)?.[1]
    ?.split(" ") ?? [];

test("a node has the same flags of Node wherever it is started", () => {
  assert.ok(flagsOfStart.some((flag) => flag.startsWith("--max-semi-space-size=")));
  const listed = flagsOfStart.map((flag) => `"${flag}"`).join(", ");
  assert.ok(read("deploy/Dockerfile").includes(`["node", ${listed}, "dist/main.cjs"]`));
  const unit = read("deploy/systemd/quorumq.service");
  assert.ok(unit.includes(`node ${flagsOfStart.join(" ")} /opt/quorumq/dist/main.cjs serve`));
});

test("every YAML parses, without a warning", () => {
  const paths = [...deployFiles(".yaml"), ...deployFiles(".yml")];
  assert.ok(paths.length >= 6);
  for (const path of paths) {
    for (const document of parseAllDocuments(read(path), { merge: true })) {
      if (!("errors" in document)) continue;
      assert.deepEqual([document.errors, document.warnings], [[], []], path);
      assert.notEqual(document.toJS(), null, path);
    }
  }
});

describe("the image", () => {
  const dockerfile = read("deploy/Dockerfile");

  test("copies what is in the repository and not ignored", () => {
    const ignored = read(".dockerignore").split("\n");
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)];
    const paths = copies.flatMap((match) => (match[1] ?? "").split(" "));
    assert.ok(paths.length > 5);
    for (const path of paths) {
      assert.ok(existsSync(join(root, path)), path);
      assert.ok(!ignored.includes(path), `${path} is ignored`);
    }
  });

  test("has a health check that tells a node that serves from one that does not", async () => {
    const [, list = ""] = /HEALTHCHECK[^\n]*\\\n\s+CMD (\[.*\])/.exec(dockerfile) ?? [];
    const [program = "", ...args] = JSON.parse(list) as string[];
    const server = await startServer(join(directory.path, "image"));
    const check = (port: number) =>
      spawnSync(program, args, { env: { ...process.env, PORT: String(port) } }).status;
    assert.equal(check(server.ports.http), 0);
    server.signal("SIGTERM");
    await server.ended;
    assert.equal(check(server.ports.http), 1);
  });
});

describe("compose", () => {
  const services = composeServices("deploy/compose.yaml", { QUORUMQ_RAFT_SECRET: secret });
  const names = Object.keys(services);

  test("asks for a secret, and is a configuration for every node", async () => {
    assert.throws(() => composeServices("deploy/compose.yaml"), /QUORUMQ_RAFT_SECRET/);
    assert.deepEqual(names, ["n1", "n2", "n3"]);
    const single = composeServices("deploy/compose.single.yaml");
    for (const { environment } of [...Object.values(services), ...Object.values(single)]) {
      await configOf(environment);
    }
  });

  test("publishes what the nodes tell clients", () => {
    const [first] = Object.values(services);
    const http = byName(first?.environment["RAFT_PEER_HTTP_ADDRS"]);
    const grpc = byName(first?.environment["RAFT_PEER_GRPC_ADDRS"]);
    for (const [name, { ports }] of Object.entries(services)) {
      const published = [http.get(name)?.replace("http://", ""), grpc.get(name)];
      assert.deepEqual(ports, [`${published[0]}:8080`, `${published[1]}:9092`]);
    }
  });

  test("founds a cluster that takes work through any node", async () => {
    const servers = await startAll(services);
    try {
      for (const { url } of servers) {
        const answer = await fetch(`${url}/v1/tasks`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ command: "mail", payload: url }),
        });
        assert.equal(answer.status, 202);
      }
    } finally {
      for (const server of servers) server.signal("SIGKILL");
      await Promise.all(servers.map(({ ended }) => ended));
    }
  });

  test("has a health check that knows the port inside", () => {
    for (const { healthcheck } of Object.values(services)) {
      assert.match(
        healthcheck.test.join(" "),
        /^CMD node -e fetch\('http:\/\/127\.0\.0\.1:8080\/readyz'\)/,
      );
    }
  });
});

/** Each service as a process, with the names and ports of this machine instead of the containers'. */
async function startAll(services: Readonly<Record<string, Service>>): Promise<Server[]> {
  const places = new Map<string, { readonly ports: Ports; readonly raft: number }>();
  for (const name of Object.keys(services)) {
    places.set(name, { ports: await freePorts(), raft: await freePort() });
  }
  const list = (value: (place: { readonly ports: Ports; readonly raft: number }) => string) =>
    [...places].map(([name, place]) => `${name}=${value(place)}`).join();
  const servers: Server[] = [];
  for (const [name, { environment }] of Object.entries(services)) {
    const place = places.get(name);
    assert.ok(place);
    const { HOST: _host, PRODUCER_STREAM_ADDR: _grpc, ...env } = environment;
    const own = {
      RAFT_BIND_ADDR: `127.0.0.1:${place.raft}`,
      RAFT_PEERS: list(({ raft }) => `127.0.0.1:${raft}`),
      RAFT_PEER_HTTP_ADDRS: list(({ ports }) => `http://127.0.0.1:${ports.http}`),
      RAFT_PEER_GRPC_ADDRS: list(({ ports }) => `127.0.0.1:${ports.grpc}`),
    };
    const path = join(directory.path, `compose-${name}`);
    servers.push(await launchServer(path, { ...env, ...own }, place.ports));
  }
  await Promise.all(servers.map(untilReady));
  return servers;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

describe("Kubernetes", () => {
  const manifests = parseAllDocuments(read("deploy/kubernetes/quorumq.yaml")).map(
    (document) => document.toJS() as Manifest,
  );
  const ofKind = (kind: string) => manifests.filter((manifest) => manifest.kind === kind);
  const { spec } = ofKind("StatefulSet")[0] as unknown as {
    readonly spec: {
      readonly replicas: number;
      readonly serviceName: string;
      readonly template: {
        readonly metadata: { readonly labels: Env };
        readonly spec: { readonly containers: readonly [Container] };
      };
    };
  };
  const [container] = spec.template.spec.containers;
  const pods = Array.from({ length: spec.replicas }, (_, i) => `quorumq-${i}`);

  test("gives every pod a configuration, in which it is one of the peers", async () => {
    const tokens = join(directory.path, "tokens.yaml");
    writeFileSync(tokens, `- {token: ${secret}, subject: a, roles: [producer, worker, admin]}\n`);
    chmodSync(tokens, 0o440);
    for (const pod of pods) {
      const env = podEnv(container, pod, { "raft-secret": secret });
      assert.deepEqual([...byName(env["RAFT_PEERS"]).keys()], pods);
      for (const place of ["RAFT_PEERS", "RAFT_PEER_HTTP_ADDRS", "RAFT_PEER_GRPC_ADDRS"]) {
        assert.match(
          byName(env[place]).get(pod) ?? "",
          new RegExp(`\\b${pod}.${spec.serviceName}:`),
        );
      }
      await configOf({ ...env, AUTH_TOKENS_FILE: tokens });
    }
  });

  test("starts one pod as the founder, and the others not", () => {
    // a node that only tells what it was given
    const bin = join(directory.path, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "node"), '#!/bin/sh\necho "$RAFT_BOOTSTRAP $*"\n', { mode: 0o755 });
    const [shell = "", ...flags] = container.command;
    const started = pods.map((pod) =>
      execFileSync(shell, [...flags, ...container.args], {
        env: { PATH: `${bin}:${process.env["PATH"]}`, RAFT_SELF_ID: pod },
        encoding: "utf8",
      }).trim(),
    );
    const command = `${flagsOfStart.join(" ")} dist/main.cjs serve`;
    assert.deepEqual(started, [`true ${command}`, command, command]);
  });

  test("leads services and probes to ports that the container has, and to answers", async () => {
    const { labels } = spec.template.metadata;
    const open = new Map(container.ports.map(({ name, containerPort }) => [name, containerPort]));
    for (const { spec: service } of ofKind("Service")) {
      assert.deepEqual(service["selector"], labels);
      for (const { name, port } of service["ports"] as { name: string; port: number }[]) {
        assert.equal(open.get(name), port);
      }
    }
    const server = await startServer(join(directory.path, "probes"));
    for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"] as const) {
      const { path, port } = container[probe].httpGet;
      assert.equal(port, "http");
      assert.equal((await fetch(server.url + path)).status, 200);
    }
    server.signal("SIGTERM");
    await server.ended;
  });
});

describe("systemd", () => {
  const unit = unitOf("deploy/systemd/quorumq.service");

  test("starts a node, reloads its tokens and stops it", async () => {
    const config = join(directory.path, "quorumq.yaml");
    const ports = await freePorts();
    writeFileSync(config, `http: { port: ${ports.http} }\n`);
    const command = (unit.get("ExecStart") ?? "")
      .replace("/usr/bin/node", process.execPath)
      .replace("/opt/quorumq", root)
      .replace("/etc/quorumq/quorumq.yaml", config);
    const [program = "", ...args] = command.split(" ");
    const own = `QUORUMQ_STORAGE_PATH=${join(directory.path, "unit")}`;
    const given = (unit.get("Environment") ?? "").replace(/QUORUMQ_STORAGE_PATH=\S+/, own);
    const env = Object.fromEntries(given.split(" ").map((pair) => pair.split("=", 2)));
    const rest = { PRODUCER_STREAM_ADDR: `127.0.0.1:${ports.grpc}`, METRICS_ADDR: "off" };
    const child = spawn(program, args, { env: { ...env, ...rest, QUORUMQ_DEV: "true" } });
    let log = "";
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      log += text;
    });
    const told = (text: string) =>
      new Promise<void>((resolve) => {
        const look = () => log.includes(text) && resolve();
        child.stdout.on("data", look);
        look();
      });
    await told("node serves");
    assert.equal(unit.get("ExecReload"), "/bin/kill -HUP $MAINPID");
    child.kill("SIGHUP");
    await told("tokens read again");
    child.kill("SIGTERM");
    assert.equal(await ended, 0);
  });

  test("does not start again what cannot be healed by that, and waits for work in flight", () => {
    const rows = [...read("deploy/OPERATIONS.md").matchAll(/^\| (\d\d) \| [^|]+ \| (no|once)\b/gm)];
    const final = rows.map((match) => match[1]);
    assert.equal(unit.get("RestartPreventExitStatus"), final.join(" "));
    assert.ok(Number(unit.get("TimeoutStopSec")) > 30);
  });

  test("is a unit that systemd takes", (t) => {
    if (spawnSync("systemd-analyze", ["--version"]).status !== 0) return t.skip("no systemd here");
    const path = join(directory.path, "quorumq.service");
    const text = read("deploy/systemd/quorumq.service")
      .replaceAll("/usr/bin/node", process.execPath)
      .replaceAll(/^(User|Group)=.*$/gm, "$1=root");
    writeFileSync(path, text);
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", path], { encoding: "utf8" });
    const ours = stderr.split("\n").filter((line) => line.includes("quorumq.service"));
    assert.deepEqual([status, ours], [0, []], stderr);
  });
});

describe("nginx in front of a cluster", () => {
  const isInstalled = spawnSync("nginx", ["-v"]).status === 0;
  const skip = isInstalled ? false : "nginx is not installed";
  let cluster: Cluster;
  let ports: { readonly http: number; readonly grpc: number };
  let nginx: ReturnType<typeof spawn> | null = null;

  before(async () => {
    if (!isInstalled) return;
    cluster = await Cluster.start({ env: { QUORUMQ_ROUTING: "forward" } });
    ports = { http: await freePort(), grpc: await freePort() };
    const path = join(directory.path, "nginx.conf");
    writeFileSync(path, nginxConf(cluster.nodes, ports));
    const args = ["-p", directory.path, "-c", path, "-e", "stderr", "-g", "daemon off;"];
    const checked = spawnSync("nginx", [...args, "-t"], { encoding: "utf8" });
    assert.equal(checked.status, 0, checked.stderr);
    nginx = spawn("nginx", args, { stdio: "ignore" });
    while (!(await isUp(`http://127.0.0.1:${ports.http}/readyz`)))
      assert.equal(nginx.exitCode, null);
  });
  after(async () => {
    if (!isInstalled) return;
    nginx?.kill("SIGTERM");
    await cluster.stop();
  });

  test("takes creates over HTTP and gRPC, while a node is down, too", { skip }, async () => {
    const create = async () => {
      const answer = await fetch(`http://127.0.0.1:${ports.http}/v1/tasks`, {
        method: "POST",
        redirect: "manual",
        headers: { "content-type": "application/json" },
        body: '{"command":"mail","payload":1}',
      });
      return answer.status;
    };
    for (let i = 0; i < 6; i++) assert.equal(await create(), 202);
    const producer = createProducer({ endpoints: `127.0.0.1:${ports.grpc}` });
    assert.match((await producer.enqueue("mail", 2)).id, /^[0-9a-f-]{36}$/);
    await producer.close();
    const leader = await cluster.leader();
    const follower = cluster.nodes.find((node) => node !== leader) as ClusterNode;
    await follower.kill();
    for (let i = 0; i < 6; i++) assert.equal(await create(), 202);
  });
});

/** Names and ports of this machine, and no files outside the test's directory. */
function nginxConf(
  nodes: readonly ClusterNode[],
  ports: { readonly http: number; readonly grpc: number },
): string {
  let text = read("deploy/nginx.conf");
  for (const { id, ports: own } of nodes) {
    text = text.replace(`${id}:8080`, `127.0.0.1:${own.http}`);
    text = text.replace(`${id}:9092`, `127.0.0.1:${own.grpc}`);
  }
  const bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${join(directory.path, `nginx-${kind}`)};`,
  );
  return text
    .replace("listen 80;", `listen 127.0.0.1:${ports.http};`)
    .replace("listen 9090 http2;", `listen 127.0.0.1:${ports.grpc} http2;`)
    .replace("http {", `http {\n  access_log off;\n  ${bodies.join("\n  ")}`)
    .replace("worker_processes", `pid ${join(directory.path, "nginx.pid")};\nworker_processes`);
}

async function isUp(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
