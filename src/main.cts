#!/usr/bin/env node
/**
 * Process entry, and the package's only bin. CommonJS, because libuv's thread pool must get its
 * size before anything uses it, and an ES module's imports run first.
 *
 * Picks the sub-command: `serve` and `config` belong to node/, everything else to cli/.
 */

/** Threads for the store's writes, reads and syncs and for DNS; libuv's own default is 4. */
const poolThreads = "8";

async function main(): Promise<void> {
  process.env["UV_THREADPOOL_SIZE"] ??= poolThreads;
  process.setSourceMapsEnabled(true);
  const [command, ...rest] = process.argv.slice(2);
  if (command === "serve") {
    const { runServe } = await import("./node/serve.ts");
    return runServe(rest);
  }
  if (command === "config") {
    const { runConfig } = await import("./node/config-command.ts");
    return runConfig(rest);
  }
  const { runCli } = await import("./cli/main.ts");
  return runCli(process.argv.slice(2));
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(70);
});
