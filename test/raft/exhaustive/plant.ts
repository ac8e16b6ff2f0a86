/** A copy of the core with one mistake in it, loaded beside the true one. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { planted } from "../../planted/bugs.ts";
import type { Planted } from "../../planted/planted.ts";
import type { PlantedSearch } from "./scenarios.ts";
import type { Outcome } from "./search.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Those of the core that the simulator's list has in the driver, or not at all. */
const ofTheCore: readonly Planted[] = [
  {
    id: "B1",
    what: "a vote leaves before it is on disk",
    file: "src/raft/raft.ts",
    find: "    const { readStates, outbox: messages } = core;\n",
    put: `    const { readStates, outbox: messages } = core;
    const early = core.afterAppend.filter((each) => each.kind === "voteResponse" && each.to !== core.id);
    messages.push(...early);
    core.afterAppend = core.afterAppend.filter((each) => !early.includes(each));
`,
  },
  {
    id: "B18",
    what: "an acknowledgement leaves before the entries are on disk",
    file: "src/raft/raft.ts",
    find: "    const { readStates, outbox: messages } = core;\n",
    put: `    const { readStates, outbox: messages } = core;
    const early = core.afterAppend.filter((each) => each.kind === "appendResponse" && each.to !== core.id);
    messages.push(...early);
    core.afterAppend = core.afterAppend.filter((each) => !early.includes(each));
`,
  },
  {
    id: "B19",
    what: "a leader counts its own copy before it is on disk",
    file: "src/raft/replication.ts",
    find: "  core.acknowledge(core.id, index);\n",
    put: "  core.acknowledge(core.id, index);\n  core.ownProgress()?.maybeUpdate(index);\n",
  },
];

function bugOf(id: string): Planted {
  const bug = [...ofTheCore, ...planted].find((each) => each.id === id);
  if (bug === undefined) throw new Error(`no planted bug ${id}`);
  return bug;
}

export function whatIs(id: string): string {
  return bugOf(id).what;
}

/** Searches a core with this mistake. */
export async function searchPlanted({ id, scenario }: PlantedSearch): Promise<Outcome> {
  const { file, find, put } = bugOf(id);
  const copy = mkdtempSync(join(tmpdir(), "quorumq-exhaustive-"));
  try {
    for (const name of ["src/base", "src/raft", "test/raft", "package.json", "tsconfig.json"]) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const path = join(copy, file);
    const text = readFileSync(path, "utf8");
    if (text.split(find).length !== 2) throw new Error(`${id}: its place is not in ${file}`);
    writeFileSync(
      path,
      text.replace(find, () => put),
    );
    const module = join(copy, "test/raft/exhaustive/search.ts");
    const loaded: typeof import("./search.ts") = await import(pathToFileURL(module).href);
    return loaded.search(scenario);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
