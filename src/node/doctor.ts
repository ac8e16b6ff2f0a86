/**
 * `quorumq doctor`: looks at the configuration and the machine before a node has to live with them,
 * and says what to change. Writes one temporary file beside the data directory and removes it.
 */
import { parseConfig } from "./config.ts";
import type { Config } from "./config-keys.ts";
import { describeKeys } from "./config-print.ts";
import {
  type Check,
  checkClock,
  checkConfig,
  checkMachineFacts,
  checkNode,
} from "./doctor-checks.ts";
import { checkDisk } from "./doctor-disk.ts";
import { checkNetwork } from "./doctor-network.ts";
import { describeError, exitCodes } from "./exit-code.ts";
import { createSystemFiles } from "./system-files.ts";

const usage = `quorumq doctor [--json] [--config <file>] [--<key> <value> ...]

Checks configuration, disk, files, memory, clock, ports and the other nodes, and says what to
change. Exit code 0: nothing stands in the way (warnings may), 1: something does, 78: the
configuration cannot be used. Takes the same file, environment and flags as serve:

`;

const marks = { ok: "ok  ", warn: "warn", fail: "FAIL" } as const;

/** Prints one line per check, and what to do where it is not well. */
export async function runDoctor(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(usage + describeKeys());
    return;
  }
  const isJson = argv.includes("--json");
  const rest = argv.filter((argument) => argument !== "--json");
  const checks: Check[] = [checkNode(process.versions.node)];
  const config = readConfig(rest, checks);
  if (config !== null) {
    checks.push(...checkMachineFacts(config), ...(await checkClock()));
    checks.push(...(await checkDisk(config.storage.path)), ...(await checkNetwork(config)));
  }
  if (isJson) {
    const ok = checks.every(({ level }) => level !== "fail");
    process.stdout.write(`${JSON.stringify({ ok, checks })}\n`);
  } else {
    for (const check of checks) process.stdout.write(lineOf(check));
  }
  if (config === null) process.exitCode = exitCodes.config;
  else if (checks.some(({ level }) => level === "fail")) process.exitCode = 1;
}

function lineOf({ level, name, detail, advice }: Check): string {
  const hint = advice === undefined ? "" : `      ${advice}\n`;
  return `${marks[level]}  ${name}: ${detail}\n${hint}`;
}

function readConfig(argv: readonly string[], checks: Check[]): Config | null {
  try {
    const { config } = parseConfig({ argv, env: process.env, files: createSystemFiles() });
    checks.push(checkConfig([]));
    return config;
  } catch (error) {
    checks.push(checkConfig(describeError(error)));
    return null;
  }
}
