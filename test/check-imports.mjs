/**
 * Checks the import rules of .dependency-cruiser.cjs. Fails as well when it saw too few modules:
 * without a parser for TypeScript the tool finds none and is content.
 */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cruise } from "dependency-cruiser";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { forbidden, options } = createRequire(import.meta.url)(
  join(root, ".dependency-cruiser.cjs"),
);

const folders = ["src", "test", "bench"];
const files = folders.flatMap((folder) => sourcesOf(folder));
const { output } = await cruise(files, { ...options, validate: true, ruleSet: { forbidden } });
const seen = new Set(
  output.modules.filter((module) => files.includes(module.source)).map((module) => module.source),
);
const missing = files.filter((file) => !seen.has(file));
const found = output.summary.violations.filter(
  ({ rule, from, cycle }) =>
    rule.severity === "error" && (cycle === undefined || runs(from, cycle)),
);

for (const { rule, from, to, cycle } of found) {
  const path = cycle === undefined ? to : cycle.map((step) => step.name).join(" → ");
  console.log(`${rule.name}: ${from} → ${path}`);
}
for (const file of missing) console.log(`not read: ${file}`);
console.log(
  `${seen.size} modules, ${output.summary.totalDependenciesCruised} imports, ${found.length} violations`,
);
process.exitCode = found.length > 0 || missing.length > 0 || seen.size === 0 ? 1 : 0;

/**
 * Whether a cycle exists at run time. Two types that hold each other may name each other: one
 * `import type` on the way is erased (verbatimModuleSyntax) and breaks the cycle.
 */
function runs(from, cycle) {
  const steps = [from, ...cycle.map((step) => step.name)];
  return steps.slice(1).every((to, i) => !isErased(steps[i], to));
}

function isErased(from, to) {
  const name = basename(to).replace(".", "\\.");
  const text = readFileSync(join(root, from), "utf8");
  const imports = text.match(
    new RegExp(`^(import|export)\\b[^;]*["']\\.[^"']*/${name}["'];`, "gm"),
  );
  return imports?.every((line) => line.startsWith("import type")) ?? false;
}

function sourcesOf(folder) {
  let names = [];
  try {
    names = readdirSync(join(root, folder), { recursive: true });
  } catch {
    return []; // a clone may lack the folder
  }
  return names
    .filter((name) => /\.(ts|cts|mjs)$/.test(name))
    .map((name) => join(folder, name))
    .sort();
}
