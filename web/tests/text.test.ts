/** Markdown: what is understood, and that nothing hostile gets anywhere. */
import { describe, expect, test } from "vitest";
import { safeHref } from "../src/text/links";
import { type Block, type Inline, isOnlyEmoji, parse, plainText } from "../src/text/markdown";

/** A compact way to write nodes down. */
function inline(nodes: readonly Inline[]): string {
  return nodes
    .map((node) => {
      if (node.kind === "text") return node.text;
      if (node.kind === "code") return `<c>${node.text}</c>`;
      if (node.kind === "break") return "<br>";
      if (node.kind === "mention") return `<@${node.handle}>`;
      const inside = inline(node.children);
      return node.kind === "link"
        ? `<a ${node.href}>${inside}</a>`
        : `<${node.kind}>${inside}</${node.kind}>`;
    })
    .join("");
}

function block(one: Block): string {
  if (one.kind === "paragraph") return inline(one.children);
  if (one.kind === "code_block") return `<pre ${one.language}>${one.text}</pre>`;
  if (one.kind === "quote") return `<q>${one.blocks.map(block).join("|")}</q>`;
  const items = one.items.map((item) => `<li>${item.map(block).join("|")}</li>`).join("");
  return one.ordered ? `<ol ${one.start}>${items}</ol>` : `<ul>${items}</ul>`;
}

const draw = (text: string) => parse(text).map(block).join("|");

test.each([
  ["plain", "plain"],
  [
    "**bold** and *italic* and _this_ and ~~gone~~",
    "<bold>bold</bold> and <italic>italic</italic> and <italic>this</italic> and <strike>gone</strike>",
  ],
  ["***both***", "<bold><italic>both</italic></bold>"],
  ["**a *b* c**", "<bold>a <italic>b</italic> c</bold>"],
  ["snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"],
  ["**open and *open", "**open and *open"],
  ["\\*not\\*", "*not*"],
  ["`a *b* c` and ``a`b``", "<c>a *b* c</c> and <c>a`b</c>"],
  ["one\ntwo", "one<br>two"],
  ["one\n\ntwo", "one|two"],
  ["```rust\nlet a = *b;\n```\nafter", "<pre rust>let a = *b;</pre>|after"],
  ["```\nnever closed", "<pre >never closed</pre>"],
  ["> quoted\n> more\nafter", "<q>quoted<br>more</q>|after"],
  ["> > deep", "<q><q>deep</q></q>"],
  ["- one\n- two\n  still two\n- three", "<ul><li>one</li><li>two<br>still two</li><li>three</li></ul>"],
  ["3. three\n4. four", "<ol 3><li>three</li><li>four</li></ol>"],
  ["- a\n  - b", "<ul><li>a|<ul><li>b</li></ul></li></ul>"],
  [
    "see https://example.org/a_b_c?d=e.",
    "see <a https://example.org/a_b_c?d=e>https://example.org/a_b_c?d=e</a>.",
  ],
  ["(https://example.org/x_(y))", "(<a https://example.org/x_(y)>https://example.org/x_(y)</a>)"],
  ["[here](https://example.org)", "<a https://example.org/>here</a>"],
  ["[*here*](mailto:a@b.org)", "<a mailto:a@b.org><italic>here</italic></a>"],
  ["[[a](https://x.org)", "[<a https://x.org/>a</a>"],
  ["hi @anna. and a@b.org", "hi <@anna>. and a@b.org"],
  ["@grüße.müller!", "<@grüße.müller>!"],
])("%j", (text, drawn) => {
  expect(draw(text)).toBe(drawn);
});

test("only those are mentioned who are known, also with a full stop in the name", () => {
  const mention = (handle: string) => ["anna", "j.r."].includes(handle);
  const nodes = parse("@anna. @bert @j.r. x", { mention }).map(block).join();
  expect(nodes).toBe("<@anna>. @bert <@j.r.> x");
});

describe("hostile input", () => {
  test.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "\u0001javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//example.org",
    "/api/sign-out",
    "https:example.org",
    "http://",
    "https://user:password@example.org",
    "https://example.org/\u202Egpj.exe",
    "https://exa\u200Bmple.org",
    `https://example.org/${"a".repeat(3_000)}`,
    "blob:https://example.org/x",
    "mailto:\nx@y.org",
  ])("%j is never a link", (address) => {
    expect(safeHref(address)).toBeUndefined();
    for (const text of [`[x](${address})`, `[x](<${address}>)`]) {
      for (const href of hrefs(parse(text))) expect(href).toMatch(/^(https?|mailto):/);
    }
  });

  test.each([
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "{{constructor}}",
    "\u202Eabc\u202C",
  ])("%j is text", (text) => {
    expect(parse(text)).toEqual([{ kind: "paragraph", children: [{ kind: "text", text }] }]);
  });

  const pieces = [
    "*",
    "**",
    "_",
    "~~",
    "`",
    "```",
    "\n",
    "> ",
    "- ",
    "1. ",
    "[",
    "]",
    "(",
    ")",
    "](",
    "@",
    "\\",
    " ",
    "a",
    "ß",
    "👩‍👩‍👧",
    "\u202E",
    "http://x.y",
    "javascript:",
    "\u0000",
    "<b>",
    "\t",
    "漢",
  ];

  test("whatever is thrown at it: a closed set of nodes, safe links, at most 32 levels, no letter lost", () => {
    const random = generator(20_261_121);
    for (let round = 0; round < 3_000; round += 1) {
      const length = Math.floor(random() * 60);
      const text = Array.from({ length }, () => pieces[Math.floor(random() * pieces.length)] ?? "").join("");
      const blocks = parse(text);
      for (const href of hrefs(blocks)) expect(href).toMatch(/^(https?:\/\/|mailto:)/);
      expect(depth(blocks)).toBeLessThanOrEqual(70);
      const letters = (from: string) => [...from.matchAll(/[aß漢👩]/gu)].map(String).join("");
      // A fence's line may hold nothing but its language, and the address of a link is not shown.
      if (!/```|\]\(/.test(text))
        expect(letters(blocks.map(plain).join("")), JSON.stringify(text)).toBe(letters(text));
    }
  });

  test.each([
    ["stars", "*".repeat(60_000)],
    ["open marks", "**a ".repeat(20_000)],
    ["mixed marks", "*a _b ~~c ".repeat(8_000)],
    ["backticks", Array.from({ length: 400 }, (_, at) => "`".repeat(at)).join(" ")],
    ["brackets", "[".repeat(60_000)],
    ["labels", "[a](".repeat(20_000)],
    ["quotes", "> ".repeat(30_000)],
    ["nested lists", Array.from({ length: 300 }, (_, at) => `${"  ".repeat(at)}- a`).join("\n")],
    ["links in links", "http://a@".repeat(8_000)],
    ["mentions", "@a".repeat(30_000)],
    ["blanks", " ".repeat(60_000)],
    ["padded code", `\` ${"a".repeat(60_000)}\``],
    ["lines", "\n".repeat(60_000)],
  ])("%s without end are read through", (_, text) => {
    // No clock: at these sizes, what is not linear runs into the time limit of the test.
    expect(depth(parse(text))).toBeLessThanOrEqual(70);
  });
});

test("the plain text is one line without marks", () => {
  expect(plainText("**Hello**\n> @anna\n\n- `x`\n- [y](https://z.org)")).toBe("Hello @anna x y");
});

test.each([
  ["👍", true],
  ["👩‍👩‍👧 🎉", true],
  ["🇩🇪❤️", true],
  ["1️⃣", true],
  ["123", false],
  ["ok 👍", false],
  ["", false],
  ["👍".repeat(7), false],
])("only emoji: %j", (text, only) => {
  expect(isOnlyEmoji(text)).toBe(only);
});

function hrefs(blocks: readonly Block[]): string[] {
  const inside = (nodes: readonly Inline[]): string[] =>
    nodes.flatMap((node) => [
      ...(node.kind === "link" ? [node.href] : []),
      ...("children" in node ? inside(node.children) : []),
    ]);
  return blocks.flatMap((one) => {
    if (one.kind === "paragraph") return inside(one.children);
    if (one.kind === "quote") return hrefs(one.blocks);
    return one.kind === "list" ? one.items.flatMap(hrefs) : [];
  });
}

function depth(nodes: readonly (Block | Inline)[]): number {
  let deepest = 0;
  for (const node of nodes) {
    const below =
      "children" in node
        ? node.children
        : "blocks" in node
          ? node.blocks
          : "items" in node
            ? node.items.flat()
            : [];
    deepest = Math.max(deepest, 1 + depth(below));
  }
  return deepest;
}

function plain(one: Block): string {
  const inside = (nodes: readonly Inline[]): string =>
    nodes
      .map((node) =>
        "children" in node
          ? inside(node.children)
          : "text" in node
            ? node.text
            : "handle" in node
              ? node.handle
              : "",
      )
      .join("");
  if (one.kind === "paragraph") return inside(one.children);
  if (one.kind === "code_block") return one.text;
  return (one.kind === "quote" ? one.blocks : one.items.flat()).map(plain).join("");
}

/** Pseudo-random numbers that are the same in each run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
