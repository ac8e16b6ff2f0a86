/** Two servers for the tests of the command line: one with tokens, one without. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { canary, makeDirectory, type Server, startServer } from "../process.ts";
import { type CliEnd, reaching, runCli } from "./run.ts";

/** Of an admin, and of a worker; no output may hold them. */
export const token = `${canary}-${"t".repeat(40)}`;
export const workerToken = `${canary}-${"w".repeat(40)}`;
export const directory = makeDirectory();

let guarded: Server | undefined;
let open: Server | undefined;

before(async () => {
  const tokens = join(directory.path, "tokens.json");
  writeFileSync(
    tokens,
    JSON.stringify([
      { token, subject: "ops", tenantId: "acme", roles: ["producer", "worker", "admin"] },
      { token: workerToken, subject: "w", tenantId: "acme", roles: ["worker"], eventTypes: ["a"] },
    ]),
    { mode: 0o600 },
  );
  [guarded, open] = await Promise.all([
    startServer(join(directory.path, "data"), { AUTH_TOKENS_FILE: tokens }),
    startServer(join(directory.path, "open")),
  ]);
});

after(async () => {
  for (const one of [guarded, open]) {
    one?.signal("SIGTERM");
    await one?.ended;
  }
  directory.remove();
});

/** The server that asks for tokens. */
export function guardedServer(): Server {
  if (guarded === undefined) throw new Error("not started");
  return guarded;
}

/** The one that does not. */
export function openServer(): Server {
  if (open === undefined) throw new Error("not started");
  return open;
}

/** Runs a command against the open server. */
export function run(args: readonly string[], stdin?: string | Buffer): Promise<CliEnd> {
  return runCli(args, { env: reaching(openServer()), ...(stdin !== undefined && { stdin }) });
}
