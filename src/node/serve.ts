/** `quorumq serve`: from the command line to a running node. */
import { resolve } from "node:path";
import { boundHeapGrowth } from "../platform/heap.ts";
import { createLogger } from "../platform/logger.ts";
import { createMetrics } from "../platform/metrics.ts";
import { createClock, createRandom, createTimers } from "../platform/system.ts";
import type { Config } from "./config.ts";
import { ConfigError, parseConfig } from "./config.ts";
import { describeKeys } from "./config-print.ts";
import { describeError, exitCodeOf } from "./exit-code.ts";
import type { NodeEffects } from "./lifecycle.ts";
import { createLifecycle } from "./lifecycle.ts";
import { createNode } from "./node.ts";
import { checkMachine, readMachine } from "./preflight.ts";
import { createSystemFiles } from "./system-files.ts";

const usage = `quorumq serve [--config <file>] [--<key> <value> ...]

Runs a node. Values come from defaults, the YAML file, the environment and flags; later ones win.
Keys, with their environment names:

`;

/** Runs until a signal; what cannot run is told on standard error, with its exit code. */
export async function runServe(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(usage + describeKeys());
    return;
  }
  try {
    const { config } = parseConfig({ argv, env: process.env, files: createSystemFiles() });
    await serve(withAbsolutePath(config));
  } catch (error) {
    for (const line of describeError(error)) console.error(`quorumq: ${line}`);
    process.exit(exitCodeOf(error));
  }
}

/**
 * Starts a node and ties it to this process's signals. Resolves when it serves.
 * @throws ConfigError: this machine cannot run it; nothing was written
 */
export async function serve(config: Config): Promise<void> {
  const clock = createClock();
  const machine = checkMachine(
    readMachine(config.storage.path, clock.wallMs()),
    config.storage.path,
  );
  if (machine.refused.length > 0) throw new ConfigError(machine.refused);
  boundHeapGrowth();

  const effects: NodeEffects = {
    clock,
    timers: createTimers(),
    random: createRandom(),
    logger: createLogger(config.log),
    metrics: createMetrics(),
    configFiles: createSystemFiles(),
  };
  for (const warning of machine.warned) effects.logger.warn(warning);
  await createLifecycle(createNode(config, effects), effects, process).run();
}

/** Messages and locks name the whole path, wherever the process was started. */
function withAbsolutePath(config: Config): Config {
  const { storage } = config;
  return { ...config, storage: { ...storage, path: resolve(storage.path) } };
}
