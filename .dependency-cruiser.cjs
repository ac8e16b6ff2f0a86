/**
 * Which folder may import what. Data flows one way: edge → router → shard (raft) → queue → storage.
 * The type checker's imports count too: swc cannot tell them apart, so rules go by path.
 *
 * `src`: other folders or files of src (a folder's own files are always allowed).
 * `core`: modules of Node. `npm`: packages; each package is imported behind one door.
 */
const any = [".*"];

const rows = {
  base: { src: [], core: [], npm: [] },
  raft: { src: ["base/"], core: [], npm: [] },
  queue: { src: ["base/", "storage/kv.ts"], core: [], npm: [] },
  storage: { src: ["base/"], core: ["fs", "fs/promises", "path"], npm: ["classic-level"] },
  transport: { src: ["base/"], core: ["net", "crypto"], npm: [] },
  shard: { src: ["base/", "raft/", "queue/", "storage/", "transport/"], core: [], npm: [] },
  // the codecs of what it proposes, and the queues that wake waiting claims
  router: {
    src: [
      "base/",
      "shard/",
      "transport/transport\\.ts$",
      "queue/(command|command-codec|task-record|settle-groups|state)\\.ts$",
    ],
    core: ["buffer", "crypto"],
    npm: [],
  },
  auth: { src: ["base/"], core: ["crypto"], npm: [] },
  api: { src: ["base/"], core: ["buffer", "crypto", "path", "url"], npm: ["typebox", "@grpc/proto-loader"] },
  "edge/http": {
    src: ["base/", "api/", "auth/", "router/", "queue/command.ts"],
    core: ["buffer", "http", "net", "stream"],
    npm: ["fastify", "typebox"],
  },
  "edge/grpc": {
    src: ["base/", "api/", "auth/", "router/", "queue/command.ts"],
    core: ["net"],
    npm: ["@grpc/grpc-js", "@grpc/reflection", "grpc-health-check"],
  },
  platform: { src: ["base/"], core: any, npm: ["pino", "prom-client"] },
  node: {
    src: ["(?!client/|cli/|main)"],
    core: any,
    npm: ["yaml"],
  },
  client: { src: ["base/", "api/"], core: any, npm: ["@grpc/grpc-js"] },
  cli: {
    src: ["base/", "api/", "client/"],
    core: any,
    npm: ["commander", "@bomb.sh/tab", "cli-table3", "cli-progress", "log-update"],
  },
};

/** The file or folder that alone may import a package, where the folder's row is too wide. */
const doors = {
  "classic-level": "src/storage/level-kv\\.ts",
  yaml: "src/node/config-sources\\.ts",
  "prom-client": "src/platform/metrics\\.ts",
  pino: "src/platform/logger\\.ts",
  "cli-table3": "src/cli/output\\.ts",
  "cli-progress": "src/cli/progress\\.ts",
  "log-update": "src/cli/commands/top\\.ts",
};

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

function folderRules([folder, row]) {
  const from = { path: `^src/${folder}/` };
  const src = [`${folder}/`, ...row.src].map((part) => `^src/${part}`);
  const rules = [
    {
      name: `${folder}-imports-only-its-row`,
      severity: "error",
      from,
      to: { path: "^src/", pathNot: src },
    },
    {
      name: `${folder}-packages`,
      severity: "error",
      from,
      to: {
        dependencyTypes: ["npm", "npm-dev", "npm-no-pkg", "npm-unknown", "npm-optional", "npm-peer"],
        ...(row.npm.length > 0 && {
          pathNot: row.npm.map((name) => `^node_modules/(@types/)?${escaped(name)}/`),
        }),
      },
    },
  ];
  if (row.core === any) return rules;
  const pathNot = row.core.map((name) => `^(node:)?${name}$`);
  const to = { dependencyTypes: ["core"], ...(pathNot.length > 0 && { pathNot }) };
  return [...rules, { name: `${folder}-node-modules`, severity: "error", from, to }];
}

function doorRule([name, door]) {
  return {
    name: `one-door-for-${name}`,
    severity: "error",
    from: { path: "^src/", pathNot: `^${door}$` },
    to: { path: `^node_modules/${escaped(name)}/` },
  };
}

module.exports = {
  forbidden: [
    ...Object.entries(rows).flatMap(folderRules),
    ...Object.entries(doors).map(doorRule),
    {
      name: "one-door-for-sockets-between-nodes",
      severity: "error",
      from: { path: "^src/transport/", pathNot: "^src/transport/sockets\\.ts$" },
      to: { path: "^(node:)?net$" },
    },
    {
      name: "main-starts-node-and-cli-only",
      severity: "error",
      from: { path: "^src/main\\.cts$" },
      to: { pathNot: ["^src/(node|platform|cli)/", "^(node:)?process$"] },
    },
    {
      name: "examples-import-the-package-as-others-do",
      severity: "error",
      from: { path: "^src/client/examples/" },
      to: { path: "^(src|node_modules)/", pathNot: "^src/client/examples/" },
    },
    {
      name: "every-file-of-src-is-in-a-folder-with-a-row",
      severity: "error",
      from: { path: "^src/", pathNot: [...Object.keys(rows).map((f) => `^src/${f}/`), "^src/main"] },
      to: {},
    },
    {
      name: "nobody-imports-main",
      severity: "error",
      from: {},
      to: { path: "^src/main" },
    },
    {
      name: "simulator-has-no-real-world",
      severity: "error",
      // its command line asks git which commit this is
      from: { path: "^test/sim/", pathNot: "^test/sim/(cluster/)?main\\.ts$" },
      to: { path: ["^src/(main|platform|edge)", "^(node:)?(fs|net|http|http2|timers|child_process)"] },
    },
    { name: "src-does-not-import-tests", severity: "error", from: { path: "^src/" }, to: { path: "^(test|bench)/" } },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphans", severity: "error", from: { orphan: true, path: "^src/" }, to: {} },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    parser: "swc",
    doNotFollow: { path: "node_modules" },
    // the package itself, as the examples name it: there only once it is built
    exclude: { path: "^(dist|data)/|^quorumq/client$" },
    // types of node and of packages without code are not modules
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "types"] },
  },
};
