/**
 * House rules that no linter knows: what pure folders may not say, how long files may be, and that
 * the docs name what the code has, and nothing else.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { errorCodes } from "../src/base/errors.ts";
import { assertLimits, limits } from "../src/base/limits.ts";
import { parseConfig } from "../src/node/config.ts";
import { configKeyNames, envName } from "../src/node/config-keys.ts";
import { otherNames } from "../src/node/config-sources.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Source {
  readonly path: string;
  readonly text: string;
  /** The text without comments. */
  readonly code: string;
}

const sources = ["src", "test", "bench"].flatMap(sourcesOf);
const inSrc = sources.filter((source) => source.path.startsWith("src/"));

function sourcesOf(folder: string): Source[] {
  if (!existsSync(join(root, folder))) return [];
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => /\.(ts|cts|mjs)$/.test(name))
    .map((name) => {
      const path = `${folder}/${name}`;
      const text = readFileSync(join(root, path), "utf8");
      return { path, text, code: withoutComments(text) };
    });
}

/** Good enough for code in the house style: a comment starts a line or follows a space. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function read(path: string): string {
  const full = join(root, path);
  return existsSync(full) ? readFileSync(full, "utf8") : "";
}

/** First cells of the rows of all tables of a document, without backticks. */
function firstCells(document: string): string[] {
  return [...document.matchAll(/^\| *`?([^|`]+?)`? *\|/gm)].map((match) => match[1] ?? "");
}

const docs = read("README.md") + read("deploy/OPERATIONS.md");
const isIn = (source: Source, ...folders: readonly string[]) =>
  folders.some((folder) => source.path.startsWith(`${folder}/`));

describe("code", () => {
  test("base, raft and queue are pure and synchronous", () => {
    const pure = inSrc.filter((source) => isIn(source, "src/base", "src/raft", "src/queue"));
    assert.ok(pure.length > 10);
    const banned = /Math\.random|\basync\b|\bawait\b|\bPromise\b|localeCompare|["']node:/;
    for (const { path, code } of pure) assert.doesNotMatch(code, banned, path);
  });

  test("random numbers come from the port", () => {
    const doors = ["src/platform/system.ts", "src/client/system.ts"];
    for (const { path, code } of inSrc) {
      if (!doors.includes(path)) assert.doesNotMatch(code, /Math\.random/, path);
    }
  });

  test("nothing is left undone without a name", () => {
    const left = new RegExp(["FIX", "ME|XX", "X|TO", "DO(?!\\([a-z]+\\): )"].join(""));
    for (const { path, text } of sources) assert.doesNotMatch(text, left, path);
  });

  test("no test is switched off, and none runs alone", () => {
    const off = /\b(test|it|describe|suite)\.(only|skip|todo)\(|\b(only|todo): true/;
    for (const { path, code } of sources) assert.doesNotMatch(code, off, path);
  });

  test("files have at most 400 lines", () => {
    // present offenders and their length: the list may only shrink
    const longer = new Map<string, number>([
      // a table of refusals, and one of message forms: each reads as one piece
      ["test/unit/http/bad-requests.test.ts", 536],
      ["test/unit/proto/coders.test.ts", 483],
    ]);
    for (const { path, text } of sources) {
      const lines = text.split("\n").length - 1;
      assert.ok(lines <= (longer.get(path) ?? 400), `${path}: ${lines} lines`);
      if (longer.has(path)) assert.ok(lines > 400, `${path} is short now: take it off the list`);
    }
  });

  test("limits agree with each other", () => assertLimits());

  test("every implementation of a port passes its contract", () => {
    const ports = [
      { suite: "contract/kv-suite.ts", form: /^(src\/storage|test\/sim)\/(level|memory)-kv\.ts$/ },
      {
        suite: "contract/files-suite.ts",
        form: /^(src\/storage|test\/sim)\/(node|memory)-files\.ts$/,
      },
    ];
    for (const { suite, form } of ports) {
      const made = sources.filter((source) => form.test(source.path));
      assert.ok(made.length >= 2, `${suite}: the real one and the simulated one`);
      for (const { path } of made) {
        const name = path.split("/").at(-1) ?? "";
        const isHeld = sources.some(
          ({ path: from, code }) =>
            from.endsWith(".test.ts") && code.includes(`/${name}"`) && code.includes(suite),
        );
        assert.ok(isHeld, `${path} is not run under ${suite}`);
      }
    }
  });

  test("every package has its door in the import rules", () => {
    const rules = read(".dependency-cruiser.cjs");
    const { dependencies } = JSON.parse(read("package.json")) as { dependencies: object };
    for (const name of Object.keys(dependencies)) {
      assert.ok(rules.includes(`"${name}"`), `${name} has no row that may import it`);
    }
  });
});

describe("docs", () => {
  test("the map has a row for every folder of src, and none for others", () => {
    const map = new Set(
      firstCells(read("src/ARCHITECTURE.md")).flatMap((cell) =>
        cell.split(/, /).map((name) => name.replace(/\/$/, "")),
      ),
    );
    const folders = new Set(
      inSrc.map(({ path }) => path.split("/").slice(1, -1).join("/")).filter((path) => path !== ""),
    );
    for (const folder of folders) {
      // a folder inside of one with a row may go without
      const parts = folder.split("/");
      const paths = parts.map((_, i) => parts.slice(0, i + 1).join("/"));
      assert.ok(
        paths.some((path) => map.has(path)),
        `src/ARCHITECTURE.md: no row for ${folder}`,
      );
    }
    for (const name of [...map].filter((cell) => cell.startsWith("src/"))) {
      assert.ok(existsSync(join(root, name)), `src/ARCHITECTURE.md: ${name} is gone`);
    }
  });

  test("every error code has its row with its HTTP status, and no row is dead", () => {
    const rows = [...docs.matchAll(/^\| *`?([a-z_]+)`? *\| *(\d{3})\b/gm)];
    const told = new Map(rows.map((match) => [match[1] ?? "", Number(match[2])]));
    for (const [code, { http }] of Object.entries(errorCodes)) {
      assert.equal(told.get(code), http, `README.md: row of ${code}`);
    }
    for (const code of told.keys()) assert.ok(Object.hasOwn(errorCodes, code), `dead row: ${code}`);
  });

  test("the README's configuration is one, and its environment names exist", () => {
    const blocks = [...read("README.md").matchAll(/^```yaml\n([\s\S]*?)^```/gm)]
      .map((match) => match[1] ?? "")
      .filter((block) => !block.startsWith("-"));
    assert.ok(blocks.length > 0);
    for (const block of blocks) {
      const files = { read: () => block, mode: () => 0o600, exists: () => false };
      parseConfig({ argv: ["--config=README.md"], env: {}, files });
    }
    const names = new Set([...otherNames, ...configKeyNames.map(envName)]);
    for (const [name] of docs.matchAll(/\bQUORUMQ_[A-Z_]*[A-Z]/g)) {
      assert.ok(names.has(name), `${name} is no environment name`);
    }
  });

  test("limits that the docs name exist", () => {
    const named = [...docs.matchAll(/`limits\.([a-zA-Z]+)`/g)].map((match) => match[1] ?? "");
    for (const name of named) {
      const isThere =
        Object.hasOwn(limits, name) || configKeyNames.some((key) => key === `limits.${name}`);
      assert.ok(isThere, `limits.${name}`);
    }
  });

  test("every metric has its row, and no row is dead", () => {
    const made = new Set(
      inSrc.flatMap(({ code }) => namesOfMetrics(code, /["'`](quorumq_[a-z0-9_]+)/g)),
    );
    const told = new Set(namesOfMetrics(docs, /^\| *`?(quorumq_[a-z0-9_]+)/gm));
    assert.deepEqual(
      [...made].filter((name) => !told.has(name)).sort(),
      [],
      "metrics without a row",
    );
    assert.deepEqual([...told].filter((name) => !made.has(name)).sort(), [], "dead rows");
  });
});

function namesOfMetrics(text: string, form: RegExp): string[] {
  return [...text.matchAll(form)].map((match) => match[1] ?? "");
}

describe("the bad-input catalogue", () => {
  // section and number of its rows
  const sections = new Map([
    ["5.1", 27],
    ["5.2", 15],
    ["5.3", 11],
    ["5.4", 25],
    ["5.5", 18],
  ]);
  const rows = new Map(
    [...read("test/README.md").matchAll(/^\| (5\.[1-5]-\d\d) \| (.+?) \|$/gm)].map((match) => [
      match[1] ?? "",
      match[2] ?? "",
    ]),
  );

  test("every row has its place in test/README.md", () => {
    const wanted = [...sections].flatMap(([section, count]) =>
      Array.from({ length: count }, (_, i) => `${section}-${String(i + 1).padStart(2, "0")}`),
    );
    assert.deepEqual([...rows.keys()], wanted);
  });

  test("every row with a file has a test there that carries its id", () => {
    for (const [id, place] of rows) {
      for (const [, file] of place.matchAll(/`([^`]+\.test\.ts)`/g)) {
        const source = sources.find(({ path }) => path === `test/${file ?? ""}`);
        assert.ok(source !== undefined, `${id}: test/${file ?? ""} is gone`);
        assert.match(
          source.code,
          new RegExp(`["'\`]${id.replace(".", "\\.")}\\b`),
          `${id} in ${file ?? ""}`,
        );
      }
    }
  });

  test("every test that carries an id is listed", () => {
    for (const { path, code } of sources.filter((source) => source.path.endsWith(".test.ts"))) {
      for (const [, id] of code.matchAll(/["'`](5\.[1-5]-\d\d)\b/g)) {
        const place = rows.get(id ?? "") ?? "";
        assert.ok(
          place.includes(`\`${path.slice("test/".length)}\``),
          `${id ?? ""}: ${path} is not listed`,
        );
      }
    }
  });
});

describe("bugs of other implementations", () => {
  const rows = new Map(
    [...read("test/README.md").matchAll(/^\| B(\d+) \| (.+?) \|$/gm)].map(
      ([, id, where]) => [Number(id), where ?? ""] as const,
    ),
  );
  const filesOf = (where: string) =>
    [...where.matchAll(/`([^`]+)`/g)].map(([, file]) => file ?? "");

  test("every row of consensus has its place, and the place is there", () => {
    assert.deepEqual(
      [...rows.keys()],
      Array.from({ length: 48 }, (_, i) => i + 1),
    );
    for (const [id, where] of rows) {
      assert.ok(filesOf(where).length > 0, `B${id}`);
      for (const file of filesOf(where)) {
        assert.ok(existsSync(join(root, "test", file)), `B${id}: ${file}`);
        if (/planted|exhaustive/.test(file)) {
          assert.match(read(`test/${file}`), new RegExp(`id: "B${id}[a-z]?"`), `B${id} in ${file}`);
        }
      }
    }
  });

  test("every transcript of a bug is in its row", () => {
    const names = readdirSync(join(root, "test/raft/testdata"));
    assert.ok(names.length >= 40);
    for (const name of names) {
      for (const [, id] of name.matchAll(/(?<![a-z])b(\d\d)_/g)) {
        const where = rows.get(Number(id)) ?? "";
        assert.ok(filesOf(where).includes(`raft/testdata/${name}`), `${name} in the row of B${id}`);
      }
    }
  });
});

describe("faults of real processes", () => {
  const rows = new Map(
    [...read("test/README.md").matchAll(/^\| (R\d+) \| (.+?) \|$/gm)].map(
      ([, id, where]) => [id ?? "", where ?? ""] as const,
    ),
  );
  const filesOf = (where: string) =>
    [...where.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, file]) => file ?? "");
  const named = /\btest\(\s*["'`]((?:R\d+(?:, )?)+):/g;

  test("every row has its place, and the place is there", () => {
    const ids = Array.from({ length: 30 }, (_, i) => `R${i + 1}`);
    assert.deepEqual([...rows.keys()], ids);
    for (const [id, where] of rows) {
      for (const file of filesOf(where)) {
        const source = sources.find(({ path }) => path === `test/${file}`);
        assert.ok(source !== undefined, `${id}: test/${file} is gone`);
        if (!/integration\/(cluster|long)\//.test(file)) continue;
        assert.match(source.code, new RegExp(`["'\`][R\\d, ]*\\b${id}[:,]`), `${id} in ${file}`);
      }
    }
  });

  test("every test that carries an id is in its row", () => {
    for (const { path, code } of sources.filter((source) => source.path.endsWith(".test.ts"))) {
      for (const [, ids] of code.matchAll(named)) {
        for (const id of (ids ?? "").split(", ")) {
          const files = filesOf(rows.get(id) ?? "");
          assert.ok(files.includes(path.slice("test/".length)), `${id}: ${path} is not listed`);
        }
      }
    }
  });
});
