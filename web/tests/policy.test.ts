/** What the content security policy would stop in the browser is stopped here already. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = `${import.meta.dirname}/..`;
const sources = readdirSync(`${root}/src`, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(ts|svelte|css)$/.test(name))
  .map((name) => [name, readFileSync(`${root}/src/${name}`, "utf8")] as const);

test.each([
  [
    "HTML from text",
    /\{@html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment/,
  ],
  ["code from text", /\beval\(|new Function\(|set(?:Timeout|Interval)\(\s*["'`]/],
  ["styles in markup, which the policy drops", /<[a-z][^>]*\sstyle="/],
  ["anything from another place", /@import\s+url|url\(\s*["']?https?:/],
])("no source has %s", (_, pattern) => {
  expect(sources.length).toBeGreaterThan(20);
  expect(sources.filter(([, text]) => pattern.test(text)).map(([name]) => name)).toEqual([]);
});

test("the page has no script or style of its own", () => {
  const page = readFileSync(`${root}/index.html`, "utf8");
  expect(page).not.toMatch(/<style|\sstyle=|\son[a-z]+=/i);
  expect(
    [...page.matchAll(/<script([^>]*)>([^<]*)</g)].every(
      ([, attributes, body]) => / src=/.test(attributes ?? "") && body === "",
    ),
  ).toBe(true);
});

test("the lock file names no addresses", () => {
  expect(readFileSync(`${root}/package-lock.json`, "utf8")).not.toContain('"resolved"');
});
