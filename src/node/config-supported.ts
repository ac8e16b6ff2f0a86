/**
 * What this version cannot run yet, though it can be configured. Saying so at start is better than
 * running as something else.
 */
import type { Config } from "./config.ts";

/** @returns one line per mode that was asked for and is not there */
export function unsupportedModes(config: Config): readonly string[] {
  const { cluster } = config;
  const refused: string[] = [];
  if (cluster.enabled) {
    refused.push("cluster.enabled: this version runs a single node; it cannot route to others yet");
  }
  return refused;
}
