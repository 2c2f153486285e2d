/** What one may be about to type: a mention, an emoji, a command. Pure. */

export type Trigger = "mention" | "emoji" | "command";

export interface Typed {
  trigger: Trigger;
  /** What stands after the sign. */
  text: string;
  /** Where the sign stands. */
  from: number;
}

export interface Suggestion {
  key: string;
  /** Replaces the sign and what was typed after it. */
  insert: string;
  label: string;
  hint?: string;
  emoji?: string;
  user?: number;
}

export const commands: readonly Suggestion[] = [
  { key: "/time", insert: "/time", label: "/time", hint: "the time of the server, for everyone here" },
  { key: "/poem", insert: "/poem ", label: "/poem N", hint: "a poem by its number" },
  { key: "/help", insert: "/help", label: "/help", hint: "what the bot can do" },
];

/** Looks left of the cursor for a sign that begins a word. */
export function typedAt(text: string, cursor: number): Typed | undefined {
  const before = text.slice(0, cursor);
  const command = /^\/([a-z]*)$/.exec(before);
  if (command) return { trigger: "command", text: command[1] ?? "", from: 0 };
  const mention = /(?:^|[\s(])@([\p{L}\p{N}\p{M}._-]{0,32})$/u.exec(before);
  if (mention)
    return { trigger: "mention", text: mention[1] ?? "", from: cursor - (mention[1] ?? "").length - 1 };
  const emoji = /(?:^|\s):([a-z0-9_+-]{2,24})$/i.exec(before);
  if (emoji) return { trigger: "emoji", text: emoji[1] ?? "", from: cursor - (emoji[1] ?? "").length - 1 };
  return undefined;
}
