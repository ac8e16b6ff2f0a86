/** What the probes need of the machine: children, mounts, fault libraries, and ways to skip. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Removes, in reverse order, what a test has set up. */
export class Cleanup {
  readonly #steps: (() => void)[] = [];

  add(step: () => void): void {
    this.#steps.push(step);
  }

  run(): void {
    for (const step of this.#steps.splice(0).reverse()) step();
  }
}

export function makeDirectory(cleanup: Cleanup): string {
  const path = mkdtempSync(join(tmpdir(), "quorumq-probe-"));
  cleanup.add(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function run(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

/** Mounts a filesystem, or gives false where the machine does not let us. */
export function mount(cleanup: Cleanup, target: string, ...args: string[]): boolean {
  mkdirSync(target, { recursive: true });
  if (!run("mount", ...args, target)) return false;
  cleanup.add(() => {
    if (!run("umount", target)) run("umount", "-l", target);
  });
  return true;
}

/** A child that runs a script of this folder, and the lines that it prints. */
export interface Child {
  readonly process: ChildProcess;
  readonly lines: Interface;
  readonly output: string[];
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

export function startChild(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Child {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", path, ...args], {
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const output: string[] = [];
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => output.push(line));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return { process: child, lines, output, ended };
}

/** Resolves with the first line that the child prints and that matches. */
export function lineOf(child: Child, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const found = child.output.find((line) => pattern.test(line));
    if (found !== undefined) return resolve(found);
    child.lines.on("line", (line) => {
      if (pattern.test(line)) resolve(line);
    });
    void child.ended.then(() => reject(new Error(`the child ended without ${pattern}`)));
  });
}

/** The first of these files that is there. */
export function firstFile(...paths: readonly string[]): string | undefined {
  return paths.find((path) => existsSync(path));
}
