/** Disks whose syncs take as long as a test says: a library that is loaded before the C library. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Env } from "../process.ts";
import { run } from "../storage-probes/machine.ts";
import type { ClusterNode } from "./cluster.ts";

const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void wait_as_told(void) {
  const char *path = getenv("SLOW_SYNC_FILE");
  FILE *file = path ? fopen(path, "r") : NULL;
  int ms = 0;
  if (!file) return;
  if (fscanf(file, "%d", &ms) != 1) ms = 0;
  fclose(file);
  if (ms > 0) usleep(ms * 1000);
}
int fsync(int fd) {
  wait_as_told();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
  wait_as_told();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
`;

export class SlowDisks {
  private readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @returns null where there is no C compiler */
  static build(): SlowDisks | null {
    const path = mkdtempSync(join(tmpdir(), "quorumq-slow-"));
    writeFileSync(join(path, "slow.c"), source);
    const args = ["-shared", "-fPIC", "-O1", "-o", join(path, "slow.so"), join(path, "slow.c")];
    if (run("cc", ...args, "-ldl")) return new SlowDisks(path);
    rmSync(path, { recursive: true, force: true });
    return null;
  }

  /** What a node must be started with. */
  env(nodeId: string): Env {
    this.set(nodeId, 0);
    return { LD_PRELOAD: join(this.path, "slow.so"), SLOW_SYNC_FILE: join(this.path, nodeId) };
  }

  /** Each sync of a node takes so many ms more from now on. */
  slow({ id }: ClusterNode, ms: number): void {
    this.set(id, ms);
  }

  private set(nodeId: string, ms: number): void {
    writeFileSync(join(this.path, nodeId), `${ms}\n`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
