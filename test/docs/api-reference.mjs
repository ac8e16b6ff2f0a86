/**
 * Writes the SDK's API reference, src/client/API.md, from the docstrings of what `quorumq/client` exports.
 *
 *   node test/docs/api-reference.mjs           writes it
 *   node test/docs/api-reference.mjs --check   fails if it is not what would be written
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { register } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const path = join(root, "src/client/API.md");

// TypeDoc asks for the compiler's API, which TypeScript 7 does not have: it gets the last one that does.
const hook = `export const resolve = (specifier, context, next) =>
  next(specifier === "typescript" ? "typescript-api" : specifier, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const { Application } = await import("typedoc");

const out = mkdtempSync(join(tmpdir(), "quorumq-api-"));
try {
  const text = await generate();
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (text !== readFileSync(path, "utf8")) {
    console.error("src/client/API.md is not what its docstrings give: npm run docs:api writes it");
    process.exitCode = 1;
  }
} finally {
  rmSync(out, { recursive: true });
}

async function generate() {
  const app = await Application.bootstrapWithPlugins({
    entryPoints: [join(root, "src/client/index.ts")],
    tsconfig: join(root, "src/tsconfig.json"),
    plugin: ["typedoc-plugin-markdown"],
    logLevel: "Warn",
    treatWarningsAsErrors: true,
    // of a file: the types come from elsewhere, and so would its line numbers
    skipErrorChecking: true,
    disableSources: true,
    readme: "none",
    name: "quorumq/client",
    outputs: [{ name: "markdown", path: out }],
    outputFileStrategy: "modules",
    entryFileName: "API.md",
    hidePageHeader: true,
    hideBreadcrumbs: true,
    excludeExternals: true,
    excludePrivate: true,
    groupOrder: ["Functions", "Classes", "Interfaces", "Type Aliases"],
    classPropertiesFormat: "table",
    excludeInternal: true,
    useCodeBlocks: true,
    expandObjects: true,
    parametersFormat: "table",
    interfacePropertiesFormat: "table",
    typeAliasPropertiesFormat: "table",
    typeDeclarationFormat: "table",
  });
  const project = await app.convert();
  if (project === undefined || app.logger.hasErrors()) throw new Error("no reference was made");
  await app.generateOutputs(project);
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error("the docs have gaps");
  return readFileSync(join(out, "API.md"), "utf8");
}
