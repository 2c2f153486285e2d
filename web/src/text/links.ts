/** Which links are followed, and where a bare one ends. */

const allowed = new Set(["http:", "https:", "mailto:"]);
const length_max = 2_048;

/** The address if it may be followed: http, https or mailto, without a name and password in it. */
export function safeHref(address: string): string | undefined {
  // Control characters and blanks are how `java\nscript:` gets through a naive check.
  if (address.length > length_max || /[\p{Cc}\p{Cf}\s]/u.test(address)) return undefined;
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return undefined;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return undefined;
  }
  if (!allowed.has(url.protocol) || url.username !== "" || url.password !== "") return undefined;
  if (url.protocol !== "mailto:" && url.hostname === "") return undefined;
  return url.href;
}

const bare = /https?:\/\/[^\s<>"'`\p{Cc}\p{Cf}]+/iuy;

/** The bare link that begins at `at`, if one does; without `href` it may not be followed. */
export function bareLink(text: string, at: number): { text: string; href?: string } | undefined {
  bare.lastIndex = at;
  const found = bare.exec(text)?.[0];
  if (!found) return undefined;
  const shown = found.slice(0, linkEnd(found));
  const href = safeHref(shown);
  return href === undefined ? { text: found } : { text: shown, href };
}

/** Punctuation at the end belongs to the sentence; a closing bracket only if it was opened outside the link. */
function linkEnd(link: string): number {
  let open = 0;
  for (const letter of link) {
    if (letter === "(") open += 1;
    else if (letter === ")") open -= 1;
  }
  let end = link.length;
  for (; end > 0; end -= 1) {
    const last = link.charAt(end - 1);
    if (last === ")" && open < 0) open += 1;
    else if (!/[.,:;!?*_~\]]/.test(last)) break;
  }
  return end;
}
