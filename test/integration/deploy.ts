/** What stands in the files of deploy/, in a form in which it can be tried on this machine. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { Env } from "./process.ts";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** Paths of all files of deploy/ whose name ends so. */
export function deployFiles(ending: string): string[] {
  return readdirSync(join(root, "deploy"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => `deploy/${name}`)
    .sort();
}

export interface Service {
  readonly environment: Env;
  /** "127.0.0.1:8081:8080" */
  readonly ports: readonly string[];
  readonly healthcheck: { readonly test: readonly string[] };
}

/** Services of a compose file; variables are filled into its strings, as the engine does. */
export function composeServices(path: string, given: Env = {}): Readonly<Record<string, Service>> {
  const text = read(path);
  const filled = parse(
    text,
    (_key, value) => (typeof value === "string" ? fill(value, given) : value),
    {
      merge: true,
    },
  );
  return (filled as { readonly services: Record<string, Service> }).services;
}

/** `${NAME}`, `${NAME:-default}` and `${NAME:?complaint}` */
function fill(text: string, given: Env): string {
  return text.replaceAll(
    /\$\{(\w+)(?:(:-|:\?)([^}]*))?\}/g,
    (_, name: string, form?: string, more = "") => {
      const value = given[name];
      if (value !== undefined && value !== "") return value;
      if (form === ":-") return more;
      throw new Error(`${name}: ${more}`);
    },
  );
}

/** "n1=host:port,n2=…" by name. */
export function byName(list: string | undefined): Map<string, string> {
  const entries = (list ?? "").split(",").map((entry) => entry.split("=", 2));
  return new Map(entries.map(([name = "", value = ""]) => [name, value]));
}

/** Sections of a unit of systemd; a key that comes again adds a line. */
export function unitOf(path: string): Map<string, string> {
  const lines = read(path)
    .split("\n")
    .filter((line) => /^\w+=/.test(line));
  const unit = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf("=");
    const key = line.slice(0, at);
    const known = unit.get(key);
    const value = line.slice(at + 1);
    unit.set(key, known === undefined ? value : `${known}\n${value}`);
  }
  return unit;
}

interface EnvEntry {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
  };
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

export interface Container {
  readonly env: readonly EnvEntry[];
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly startupProbe: Probe;
}

/** The environment that a pod's container gets. */
export function podEnv(container: Container, pod: string, secrets: Env): Env {
  const env: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env) {
    const { fieldRef, secretKeyRef } = valueFrom ?? {};
    const found =
      value ??
      (fieldRef?.fieldPath === "metadata.name" ? pod : undefined) ??
      (secretKeyRef && secrets[secretKeyRef.key]);
    if (found === undefined) throw new Error(`${name} of ${pod} has no value`);
    env[name] = found;
  }
  return env;
}
