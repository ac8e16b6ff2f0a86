/** `quorumq recover`: brings a data directory back into use that no node can start from. */
import { resolve } from "node:path";
import { createRandom } from "../platform/system.ts";
import { createNodeFiles } from "../storage/node-files.ts";
import { parseConfig } from "./config.ts";
import { describeError, exitCodeOf, exitCodes } from "./exit-code.ts";
import { type RecoverOutcome, recoverDirectory } from "./recover.ts";
import { createSystemFiles } from "./system-files.ts";

const usage = `quorumq recover --accept-loss | --force-new-cluster [--yes] [--config <file>] [--<key> <value> ...]

For a node that is stopped; takes the same file, environment and flags as serve.

  --accept-loss         a damaged store of a node without others: goes on with what is whole of it,
                        moves the rest aside, cuts the log at the first gap
  --force-new-cluster   a majority of a cluster is lost for good: this node alone becomes a new
                        cluster, to which others can be added; with --accept-loss if it is damaged, too
  --yes                 do it; without it the command says what it would do and what would be lost,
                        changes nothing, and ends with ${exitCodes.planned}
`;

const switches = ["--accept-loss", "--force-new-cluster", "--yes"];

export async function runRecover(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(usage);
    return;
  }
  const has = (name: string) => argv.includes(name);
  const [acceptLoss, forceNewCluster] = [has("--accept-loss"), has("--force-new-cluster")];
  if (!acceptLoss && !forceNewCluster) {
    process.stderr.write(usage);
    process.exitCode = exitCodes.usage;
    return;
  }
  const rest = argv.filter((argument) => !switches.includes(argument));
  const print = (line: string) => void process.stdout.write(`${line}\n`);
  try {
    const parsed = parseConfig({ argv: rest, env: process.env, files: createSystemFiles() });
    const { storage } = parsed.config;
    const config = { ...parsed.config, storage: { ...storage, path: resolve(storage.path) } };
    const deps = { files: createNodeFiles(), random: createRandom(), print };
    const choice = { acceptLoss, forceNewCluster, yes: has("--yes") };
    process.exitCode = codeOf(await recoverDirectory(deps, config, choice));
  } catch (error) {
    for (const line of describeError(error)) console.error(`quorumq: ${line}`);
    process.exitCode = exitCodeOf(error);
  }
}

function codeOf(outcome: RecoverOutcome): number {
  return outcome === "planned" ? exitCodes.planned : exitCodes.ok;
}
