/** The disk behind ConfigFiles. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { limits } from "../base/limits.ts";
import type { ConfigFiles } from "./config.ts";

export function createSystemFiles(): ConfigFiles {
  return {
    read(path) {
      const { size } = statOf(path);
      if (size > limits.configFileBytes) {
        throw new Error(`${path}: over ${limits.configFileBytes} bytes`);
      }
      return forPeople(path, () => readFileSync(path, "utf8"));
    },
    mode: (path) => statOf(path).mode & 0o777,
    exists: (path) => existsSync(path),
  };
}

function statOf(path: string): { readonly size: number; readonly mode: number } {
  const found = forPeople(path, () => statSync(path));
  // a pipe or a device has no size to check, and reading it may never end
  if (!found.isFile()) throw new Error(`${path}: not a file`);
  return found;
}

function forPeople<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unreadable";
    throw new Error(`${path}: ${code === "ENOENT" ? "no such file" : code}`, { cause: error });
  }
}
