/**
 * Plays the tables. Each case runs twice: with everything in memory, and with a process that ends
 * before every row and reads everything back. `UPDATE=1` writes what happens into the files; the
 * difference is to be read, row by row, before it is kept.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { EngineOptions } from "./engine.ts";
import { parseTable, TablePlayer } from "./table.ts";

const folder = new URL("tables/", import.meta.url);
const plenty: EngineOptions = { readAhead: { readyRows: 512, dueRows: 512 }, evictBytes: 1e9 };
const tiny: EngineOptions = { readAhead: { readyRows: 1, dueRows: 1 }, evictBytes: 0 };

async function playCase(rows: readonly string[], player: TablePlayer): Promise<string[]> {
  const played: string[] = [];
  for (const row of rows) {
    const [command = ""] = row.split(" -> ");
    played.push(`${command.trimEnd()} -> ${await player.play(command.trimEnd())}`);
  }
  return played;
}

async function update(file: URL): Promise<void> {
  const lines: string[] = [];
  let player = new TablePlayer(plenty, false);
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line.startsWith("== ")) player = new TablePlayer(plenty, false);
    const isRow = line.trim() !== "" && !/^(#|==)/.test(line);
    lines.push(isRow ? ((await playCase([line], player))[0] as string) : line);
  }
  writeFileSync(file, lines.join("\n"));
}

for (const name of readdirSync(folder).sort()) {
  const file = new URL(name, folder);
  if (process.env["UPDATE"] === "1") await update(file);
  describe(name, () => {
    for (const { name: title, rows } of parseTable(readFileSync(file, "utf8"))) {
      it(title, async () => {
        assert.deepEqual(await playCase(rows, new TablePlayer(plenty, false)), rows);
        assert.deepEqual(await playCase(rows, new TablePlayer(tiny, true)), rows, "after restarts");
      });
    }
  });
}
