/**
 * Compiles the load process into dist/bench-load. Through tsx, which wraps each function for its
 * name, it took 2.5 µs of CPU per cycle instead of 1.9 (batches of 128), and the node, on the same
 * two cores, did 7 to 11 % fewer cycles.
 */
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFolder } from "./paths.ts";

/** The compiled form of load/main.ts. */
export const loadEntry = fileURLToPath(
  new URL("dist/bench-load/bench/load/main.js", packageFolder),
);

/** Takes about a second; once per run of the bench. @throws Error with what the compiler says */
export function buildLoad(): void {
  const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
  const program = join(compiler, "../bin/tsc");
  const project = fileURLToPath(new URL("bench/tsconfig.json", packageFolder));
  execFileSync(process.execPath, [program, "-p", project], { stdio: "inherit" });
}
