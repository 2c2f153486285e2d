/**
 * A small Markdown, parsed to a closed set of nodes that a view draws with elements of its own: there is no HTML at
 * any point, so there is none to be filtered.
 *
 * Spoken: **bold**, *italic* and _italic_, ~~strike~~, `code`, fenced code, > quotes, - and 1. lists,
 * [text](link) and bare links with http, https or mailto, @mentions, line breaks. Anything else is text.
 *
 * Invariants: linear time (every closing mark is found once, by a table made in one pass), at most 32 levels, and
 * every visible character of the input is in exactly one text of the output, but for the marks that were understood.
 */

import { type Options, parseInline } from "./inline";
import type { Block, Inline } from "./nodes";

export type { Options } from "./inline";
export type { Block, Inline } from "./nodes";

const levels_max = 32;

/** The blocks of a message. `options.mention` says whether a handle after `@` names somebody. */
export function parse(text: string, options: Options = {}): Block[] {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), options, 0);
}

const fence = /^ {0,3}(```+|~~~+)\s*([A-Za-z0-9+#._-]{0,32})\s*$/;
const quote = /^ {0,3}> ?/;
const bullet = /^ {0,3}[-*+] +(?=\S)/;
const numbered = /^ {0,3}(\d{1,9})[.)] +(?=\S)/;

function blocks(lines: string[], options: Options, level: number): Block[] {
  const found: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const taken =
      takeFence(lines, at, found) ??
      (level < levels_max
        ? (takeQuote(lines, at, found, options, level) ?? takeList(lines, at, found, options, level))
        : undefined);
    if (taken !== undefined) at = taken;
    else if (line.trim() === "") at += 1;
    else at = takeParagraph(lines, at, found, options, level);
  }
  return found;
}

function takeFence(lines: string[], start: number, found: Block[]): number | undefined {
  const opening = fence.exec(lines[start] ?? "");
  const mark = opening?.[1];
  if (!mark) return undefined;
  let end = start + 1;
  while (end < lines.length && !isClosing(lines[end] ?? "", mark)) end += 1;
  // A fence that is never closed holds the rest, so that half-written code is not torn apart.
  const language = opening[2] ?? "";
  found.push({ kind: "code_block", text: lines.slice(start + 1, end).join("\n"), language });
  return end + 1;
}

function isClosing(line: string, mark: string): boolean {
  const trimmed = line.trim();
  return trimmed.length >= mark.length && trimmed === mark.charAt(0).repeat(trimmed.length);
}

function takeQuote(
  lines: string[],
  start: number,
  found: Block[],
  options: Options,
  level: number,
): number | undefined {
  let end = start;
  const inner: string[] = [];
  for (; end < lines.length; end += 1) {
    const mark = quote.exec(lines[end] ?? "");
    if (!mark) break;
    inner.push((lines[end] ?? "").slice(mark[0].length));
  }
  if (end === start) return undefined;
  found.push({ kind: "quote", blocks: blocks(inner, options, level + 1) });
  return end;
}

function takeList(
  lines: string[],
  start: number,
  found: Block[],
  options: Options,
  level: number,
): number | undefined {
  const first = lines[start] ?? "";
  const ordered = numbered.exec(first);
  const mark = ordered ? numbered : bullet;
  if (!mark.test(first)) return undefined;
  const items: Block[][] = [];
  let at = start;
  while (at < lines.length) {
    const opening = mark.exec(lines[at] ?? "");
    if (!opening) break;
    const item = [(lines[at] ?? "").slice(opening[0].length)];
    at += 1;
    // What is indented belongs to the item above.
    for (; at < lines.length; at += 1) {
      const indented = /^(?: {2,4}|\t)(?=\S)/.exec(lines[at] ?? "");
      if (!indented) break;
      item.push((lines[at] ?? "").slice(indented[0].length));
    }
    items.push(blocks(item, options, level + 1));
  }
  found.push({ kind: "list", ordered: ordered !== null, start: Number(ordered?.[1] ?? 1), items });
  return at;
}

function takeParagraph(
  lines: string[],
  start: number,
  found: Block[],
  options: Options,
  level: number,
): number {
  let end = start + 1;
  while (end < lines.length && !interrupts(lines[end] ?? "", level)) end += 1;
  found.push({ kind: "paragraph", children: parseInline(lines.slice(start, end).join("\n"), options) });
  return end;
}

function interrupts(line: string, level: number): boolean {
  if (line.trim() === "" || fence.test(line)) return true;
  return level < levels_max && (quote.test(line) || bullet.test(line) || numbered.test(line));
}

/** The text without its marks, on one line: for previews and notifications. */
export function plainText(text: string): string {
  return parse(text).map(plainBlock).join(" ").replace(/\s+/g, " ").trim();
}

function plainBlock(block: Block): string {
  switch (block.kind) {
    case "paragraph":
      return plainInline(block.children);
    case "code_block":
      return block.text;
    case "quote":
      return block.blocks.map(plainBlock).join(" ");
    case "list":
      return block.items.map((item) => item.map(plainBlock).join(" ")).join(" ");
  }
}

function plainInline(nodes: readonly Inline[]): string {
  let text = "";
  for (const node of nodes) {
    if (node.kind === "break") text += " ";
    else if (node.kind === "mention") text += `@${node.handle}`;
    else if (node.kind === "text" || node.kind === "code") text += node.text;
    else text += plainInline(node.children);
  }
  return text;
}

/** Whether a message is nothing but one to six emoji, which are drawn large. */
export function isOnlyEmoji(text: string): boolean {
  const trimmed = text.trim();
  if (trimmed === "" || trimmed.length > 120) return false;
  const one =
    "(?:\\p{RI}\\p{RI}|\\p{Emoji}(?:\\p{Emoji_Modifier}|\\uFE0F\\u20E3?)?(?:\\u200D\\p{Emoji}(?:\\p{Emoji_Modifier}|\\uFE0F)?)*)";
  return new RegExp(`^(?:${one}\\s*){1,6}$`, "u").test(trimmed) && !/^[\d#*\s]+$/.test(trimmed);
}
