/** The replicated settings: their defaults, and when two are the same. */
import type { Settings } from "./command.ts";

export function equalSettings(a: Settings, b: Settings): boolean {
  return (
    a.backoffPolicy === b.backoffPolicy &&
    a.backoffBaseMs === b.backoffBaseMs &&
    a.backoffMaxMs === b.backoffMaxMs &&
    a.doneRetentionMs === b.doneRetentionMs &&
    a.deadRetentionMs === b.deadRetentionMs
  );
}
