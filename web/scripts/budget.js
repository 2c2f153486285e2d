// Fails the build when what a first visit loads grows beyond its budget: index.html and everything it names,
// with the scripts that those import at once.
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

const budgetBytes = 200 * 1000;
const root = new URL("../dist", import.meta.url).pathname;

/** @type {Map<string, number>} */
const sizes = new Map();

/** @param {string} path */
function add(path) {
  if (sizes.has(path) || !existsSync(path)) return;
  const compressed = existsSync(`${path}.gz`) ? `${path}.gz` : path;
  sizes.set(path, statSync(compressed).size);
  if (!path.endsWith(".js")) return;
  const code = readFileSync(path, "utf8");
  for (const found of code.matchAll(/(?:\bfrom|^import|;import)\s*["'](\.[^"']+)["']/g)) {
    if (found[1]) add(join(dirname(path), found[1]));
  }
}

const page = readFileSync(join(root, "index.html"), "utf8");
add(join(root, "index.html"));
for (const found of page.matchAll(/(?:src|href)="\/([^"]+)"/g)) {
  if (found[1]) add(join(root, found[1]));
}
const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
for (const [path, size] of sizes) console.log(`${String(size).padStart(8)}  ${path.slice(root.length + 1)}`);
console.log(`${String(total).padStart(8)}  first load, gzip (budget ${budgetBytes})`);
if (total > budgetBytes) {
  console.error("the first load is larger than its budget");
  process.exit(1);
}
