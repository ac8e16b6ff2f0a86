#!/usr/bin/env node
/**
 * Process entry, and the package's only bin. CommonJS, because libuv's thread pool must get its
 * size before anything uses it, and an ES module's imports run first.
 *
 * Picks the sub-command: those that run or look after a node belong to node/, all others to cli/.
 */

/** Threads for the store's writes, reads and syncs and for DNS; libuv's own default is 4. */
const poolThreads = "8";

/** Loaded when they are asked for: the command line needs nothing of the server, nor it of that. */
const local = [
  {
    name: "serve",
    description: "run a node",
    run: async (argv: readonly string[]) => (await import("./node/serve.ts")).runServe(argv),
  },
  {
    name: "config",
    description: "print the configuration in force and where each value came from",
    run: async (argv: readonly string[]) =>
      (await import("./node/config-command.ts")).runConfig(argv),
  },
  {
    name: "recover",
    description: "bring back a damaged store, or a cluster whose majority is lost",
    run: async (argv: readonly string[]) =>
      (await import("./node/recover-command.ts")).runRecover(argv),
  },
  {
    name: "doctor",
    description: "check configuration and machine, and say what to change",
    run: async (argv: readonly string[]) => (await import("./node/doctor.ts")).runDoctor(argv),
  },
];

async function main(): Promise<void> {
  process.env["UV_THREADPOOL_SIZE"] ??= poolThreads;
  process.setSourceMapsEnabled(true);
  const argv = process.argv.slice(2);
  const named = local.find(({ name }) => name === argv[0]);
  // its flags are the configuration's: no other parser looks at them
  if (named !== undefined) return named.run(argv.slice(1));
  const { runCli } = await import("./cli/main.ts");
  return runCli(argv, local);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(70);
});
