/**
 * The inside of a paragraph: marks, code, links and mentions.
 *
 * Two passes. The first cuts the text into tokens; the second pairs opening and closing marks with one stack per
 * kind of mark, so no text is looked at twice however its marks are nested or left open.
 */
import { bareLink, safeHref } from "./links";
import type { Inline } from "./nodes";

export interface Options {
  /** Whether a handle names somebody; without it every well-formed one is taken for a name. */
  mention?: (handle: string) => boolean;
}

type Style = "bold" | "italic" | "strike";

type Token =
  | { is: "node"; node: Inline }
  | { is: "text"; text: string }
  | { is: "mark"; text: string; style: Style; opens: boolean; closes: boolean };

const levels_max = 32;
const letter = /[\p{L}\p{N}]/u;
const handle = /@([\p{L}\p{N}\p{M}._-]{1,64})/uy;

export function parseInline(text: string, options: Options = {}): Inline[] {
  return pair(tokens(text, options, true));
}

function tokens(text: string, options: Options, links: boolean): Token[] {
  const found: Token[] = [];
  const codeEnds = codeRuns(text);
  const labelEnds = links ? labels(text) : undefined;
  let plain = 0;
  let at = 0;
  const flush = (to: number) => {
    if (to > plain) found.push({ is: "text", text: text.slice(plain, to) });
  };
  const take = (end: number, token: Token) => {
    flush(at);
    found.push(token);
    at = end;
    plain = end;
  };
  while (at < text.length) {
    const here = text.charAt(at);
    if (here === "\n") take(at + 1, { is: "node", node: { kind: "break" } });
    else if (here === "\\" && /[\\`*_~[\]()@>#+.!-]/.test(text.charAt(at + 1))) {
      take(at + 2, { is: "text", text: text.charAt(at + 1) });
    } else if (here === "`") takeCode();
    else if (here === "*" || here === "_" || here === "~") takeMark(here);
    else if (here === "[" && labelEnds) takeLink(labelEnds.get(at));
    else if (here === "@") takeMention();
    else if (links && (here === "h" || here === "H")) takeBare();
    else at += 1;
  }
  flush(at);
  return found;

  function takeCode(): void {
    const run = runLength(text, at, "`");
    const end = codeEnds(at, run);
    if (end === undefined) {
      at += run;
      return;
    }
    const inside = text.slice(at + run, end).replaceAll("\n", " ");
    // Blanks on both sides are there to keep a backtick apart from the mark.
    const padded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim() !== "";
    const trimmed = padded ? inside.slice(1, -1) : inside;
    take(end + run, { is: "node", node: { kind: "code", text: trimmed } });
  }

  function takeMark(mark: "*" | "_" | "~"): void {
    const run = runLength(text, at, mark);
    const before = text.charAt(at - 1);
    const after = text.charAt(at + run);
    const width = mark === "~" ? 2 : run >= 2 ? 2 : 1;
    if ((mark === "~" && run !== 2) || run > 3) {
      at += run;
      return;
    }
    // Inside a word only a star is a mark: snake_case is a name.
    const inWord = mark === "_" && letter.test(before) && letter.test(after);
    const opens = after !== "" && !/\s/.test(after) && !inWord && !(mark === "_" && letter.test(before));
    const closes = before !== "" && !/\s/.test(before) && !inWord && !(mark === "_" && letter.test(after));
    const style = (size: number): Style => (mark === "~" ? "strike" : size === 2 ? "bold" : "italic");
    // Three are bold and italic at once; the closing three are the other way round.
    const sizes = run === 3 ? (opens ? [2, 1] : [1, 2]) : [width];
    for (const size of sizes) {
      take(at + size, { is: "mark", text: mark.repeat(size), style: style(size), opens, closes });
    }
  }

  function takeLink(labelEnd: number | undefined): void {
    const address = labelEnd === undefined ? undefined : addressAfter(text, labelEnd);
    if (labelEnd === undefined || !address) {
      at += 1;
      return;
    }
    const label = text.slice(at + 1, labelEnd);
    const children = pair(tokens(label, options, false));
    if (children.length === 0) {
      at += 1;
      return;
    }
    take(address.end, { is: "node", node: { kind: "link", href: address.href, children } });
  }

  function takeMention(): void {
    handle.lastIndex = at;
    const name = letter.test(text.charAt(at - 1)) ? undefined : handle.exec(text)?.[1];
    // A full stop at the end is the sentence's, unless somebody is called so.
    const candidates = name === undefined ? [] : [name, name.replace(/[._-]+$/, "")];
    const known = candidates.find((one) => one !== "" && options.mention?.(one) === true);
    const chosen = known ?? (options.mention ? undefined : candidates.at(-1));
    if (chosen) take(at + 1 + chosen.length, { is: "node", node: { kind: "mention", handle: chosen } });
    else at += 1;
  }

  function takeBare(): void {
    const link = letter.test(text.charAt(at - 1)) ? undefined : bareLink(text, at);
    if (link?.href === undefined) {
      // An address that may not be followed is passed over as a whole, so it is not tried again inside.
      at += link?.text.length ?? 1;
      return;
    }
    const children: Inline[] = [{ kind: "text", text: link.text }];
    take(at + link.text.length, { is: "node", node: { kind: "link", href: link.href, children } });
  }
}

/** Pairs the marks of a line of tokens. What has no partner is text again. */
function pair(all: readonly Token[]): Inline[] {
  interface Level {
    style?: Style;
    mark: string;
    children: Inline[];
  }
  const levels: Level[] = [{ mark: "", children: [] }];
  const open = new Map<string, number>();
  const top = () => levels[levels.length - 1] as Level;
  const dissolve = () => {
    const level = levels.pop() as Level;
    open.set(level.mark, (open.get(level.mark) ?? 1) - 1);
    append(top().children, { kind: "text", text: level.mark });
    for (const child of level.children) append(top().children, child);
  };
  for (const token of all) {
    if (token.is === "node") append(top().children, token.node);
    else if (token.is === "text") append(top().children, { kind: "text", text: token.text });
    else if (token.closes && (open.get(token.text) ?? 0) > 0) {
      while (top().mark !== token.text) dissolve();
      const level = levels.pop() as Level;
      open.set(level.mark, (open.get(level.mark) ?? 1) - 1);
      if (level.children.length === 0)
        append(top().children, { kind: "text", text: level.mark + token.text });
      else if (level.style) append(top().children, { kind: level.style, children: level.children });
    } else if (token.opens && levels.length <= levels_max) {
      levels.push({ style: token.style, mark: token.text, children: [] });
      open.set(token.text, (open.get(token.text) ?? 0) + 1);
    } else append(top().children, { kind: "text", text: token.text });
  }
  while (levels.length > 1) dissolve();
  return top().children;
}

/** Adds a node; neighbouring texts become one. */
function append(children: Inline[], node: Inline): void {
  const last = children.at(-1);
  if (node.kind === "text" && last?.kind === "text") {
    children[children.length - 1] = { kind: "text", text: last.text + node.text };
  } else children.push(node);
}

function runLength(text: string, at: number, mark: string): number {
  let end = at;
  while (text.charAt(end) === mark) end += 1;
  return end - at;
}

/** Where a run of backticks of a length next stands after a place: found once for the whole text. */
function codeRuns(text: string): (after: number, length: number) => number | undefined {
  const byLength = new Map<number, number[]>();
  for (let at = text.indexOf("`"); at !== -1; at = text.indexOf("`", at)) {
    const run = runLength(text, at, "`");
    const places = byLength.get(run) ?? [];
    places.push(at);
    byLength.set(run, places);
    at += run;
  }
  const passed = new Map<number, number>();
  return (after, length) => {
    const places = byLength.get(length) ?? [];
    // Places are asked for from left to right, so what was passed is never looked at again.
    let next = passed.get(length) ?? 0;
    while (next < places.length && (places[next] ?? 0) <= after) next += 1;
    passed.set(length, next);
    return places[next];
  };
}

/** For each opening bracket its closing one, on one line: found once for the whole text. */
function labels(text: string): Map<number, number> {
  const ends = new Map<number, number>();
  let open: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const here = text.charAt(at);
    if (here === "\\") at += 1;
    else if (here === "\n") open = [];
    else if (here === "[") open.push(at);
    else if (here === "]") {
      const start = open.pop();
      if (start !== undefined && text.charAt(at + 1) === "(") ends.set(start, at);
    }
  }
  return ends;
}

const address = /\]\(([^\s()<>]{1,2048}(?:\([^\s()<>]{0,256}\)[^\s()<>]{0,256})?)\)/y;

function addressAfter(text: string, labelEnd: number): { href: string; end: number } | undefined {
  address.lastIndex = labelEnd;
  const found = address.exec(text);
  const href = found?.[1] === undefined ? undefined : safeHref(found[1]);
  return href === undefined || !found ? undefined : { href, end: labelEnd + found[0].length };
}
