/**
 * `npm run sim:versions`: the same seeds under this Node and under another one, which npm brings;
 * their hashes must be equal. Exit code 1 if they are not.
 *
 *   npm run sim:versions -- --with 24 --seeds 4
 */
import { execFileSync } from "node:child_process";
import { arch, platform } from "node:os";
import { parseArgs } from "node:util";
import { type WorldName, worlds } from "./sim/play.ts";

const { values } = parseArgs({
  options: {
    with: { type: "string", default: "24" },
    seeds: { type: "string", default: "4" },
  },
});

/** What it prints of a run may be long. */
const outputBytes = 2 ** 28;

type Command = readonly [file: string, ...args: string[]];

/** The binary itself, without the installer of the package `node`. */
const other = `node-${platform()}-${arch()}@${values.with}`;
const commands: readonly Command[] = [
  [process.execPath],
  ["npx", "--yes", `--package=${other}`, "--", "node"],
];

function output([file, ...first]: Command, args: readonly string[]): string {
  const stdio: ["ignore", "pipe", "inherit"] = ["ignore", "pipe", "inherit"];
  const options = { encoding: "utf8", maxBuffer: outputBytes, stdio } as const;
  return execFileSync(file, [...first, ...args], options);
}

function hashOf(command: Command, world: WorldName, seed: number): string {
  const args = ["--import", "tsx", "test/sim/main.ts", "--world", world, "--seed", String(seed)];
  const found = /^ {2}hash: '(\w+)'/m.exec(output(command, args))?.[1];
  if (found === undefined) throw new Error(`no hash of ${world} ${seed}`);
  return found;
}

console.log(commands.map((command) => output(command, ["--version"]).trim()).join(" and "));
let differing = 0;
let count = 0;
for (const world of worlds) {
  for (let seed = 1; seed <= Number(values.seeds); seed++) {
    const hashes = commands.map((command) => hashOf(command, world, seed));
    const isEqual = new Set(hashes).size === 1;
    if (!isEqual) differing++;
    count++;
    console.log(`${world} ${seed}: ${hashes.join(" ")}${isEqual ? "" : " DIFFER"}`);
  }
}
console.log(`${count - differing} passed, ${differing} failed`);
if (differing > 0) process.exitCode = 1;
