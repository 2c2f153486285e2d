import { describe, expect, it } from "vitest";
import type { Event, Item } from "../src/protocol/types";
import { typedAt } from "../src/ui/composer/suggest";
import { handleFrom } from "../src/ui/conversations/handle";
import { dayName, initials, listOf } from "../src/ui/shared/format";
import { indexOfSeq, type Row, rowsOf } from "../src/ui/timeline/rows";

const noon = new Date(2026, 2, 10, 12).getTime();
const minute = 60_000;
const sight = { me: 1, direct: false, complete: true };

function entry(seq: number, by: number, minutes: number, event: Event): Item {
  return { entry: { log: "c1", seq, by, at: noon + minutes * minute, event } };
}

function said(
  seq: number,
  by: number,
  minutes: number,
  more: { thread?: number; reply_to?: number } = {},
): Item {
  return entry(seq, by, minutes, { message: { text: `text ${seq}`, number: seq, ...more } });
}

function kinds(rows: readonly Row[]): string[] {
  return rows.map((row) => (row.kind === "message" ? (row.first ? "first" : "more") : row.kind));
}

describe("the rows of a timeline", () => {
  it("groups what one person says within five minutes", () => {
    const rows = rowsOf([said(1, 2, 0), said(2, 2, 4), said(3, 2, 10), said(4, 3, 10)], [], sight);
    expect(kinds(rows)).toEqual(["start", "day", "first", "more", "first", "first"]);
  });

  it("begins a day with its own line, and a group anew", () => {
    const rows = rowsOf([said(1, 2, 0), said(2, 2, 24 * 60)], [], sight);
    expect(kinds(rows)).toEqual(["start", "day", "first", "day", "first"]);
  });

  it("marks the first unread message of somebody else", () => {
    const rows = rowsOf([said(1, 2, 0), said(2, 1, 1), said(3, 2, 2)], [], { ...sight, readTo: 1 });
    expect(kinds(rows)).toEqual(["start", "day", "first", "first", "new", "first"]);
  });

  it("draws no line of new messages above what it does not know", () => {
    const rows = rowsOf([said(50, 2, 0)], [], { ...sight, complete: false, readTo: 10 });
    expect(kinds(rows)).toEqual(["day", "first"]);
  });

  it("tells arrivals in a row together, and none in a direct conversation", () => {
    const joined = (seq: number, user: number) =>
      entry(seq, user, 0, { joined: { user, role: "member", since: 1, how: "joining" } });
    const items = [joined(1, 2), joined(2, 3)];
    expect(kinds(rowsOf(items, [], sight))).toEqual(["start", "day", "system"]);
    expect(kinds(rowsOf(items, [], { ...sight, direct: true }))).toEqual(["start"]);
  });

  it("folds replies of one thread into one line, and finds them there", () => {
    const rows = rowsOf(
      [said(1, 2, 0), said(2, 3, 1, { thread: 1 }), said(3, 2, 2, { thread: 1 })],
      [],
      sight,
    );
    expect(kinds(rows)).toEqual(["start", "day", "first", "thread"]);
    expect(rows[indexOfSeq(rows, 3)]?.kind).toBe("thread");
  });

  it("keeps the key of one's own message when it is recorded", () => {
    const waiting = {
      client_id: "a",
      user: 1,
      conversation: 1,
      text: "hello",
      written_at: noon,
      state: "waiting" as const,
    };
    const before = rowsOf([], [waiting], sight).at(-1)?.key;
    const item = said(1, 1, 0);
    const after = rowsOf([{ entry: { ...item.entry, client_id: "a" } }], [], sight).at(-1)?.key;
    expect(before).toBe("a");
    expect(after).toBe(before);
  });
});

describe("what one is about to type", () => {
  it("sees a mention, an emoji and a command, and nothing inside a word", () => {
    expect(typedAt("hello @an", 9)).toEqual({ trigger: "mention", text: "an", from: 6 });
    expect(typedAt("so :smi", 7)).toEqual({ trigger: "emoji", text: "smi", from: 3 });
    expect(typedAt("/ti", 3)).toEqual({ trigger: "command", text: "ti", from: 0 });
    expect(typedAt("a@b", 3)).toBeUndefined();
    expect(typedAt("10:30", 5)).toBeUndefined();
    expect(typedAt("see /ti", 7)).toBeUndefined();
  });
});

describe("words", () => {
  it("makes initials of whole letters", () => {
    expect(initials("anna.berg")).toBe("AB");
    expect(initials("👩‍💻")).not.toBe("");
    expect(initials("")).toBe("?");
  });

  it("lists names", () => {
    expect(listOf(["A", "B", "C"])).toBe("A, B and C");
    expect(listOf(["A", "B", "C", "D"])).toBe("A, B and 2 others");
  });

  it("names days before and after today", () => {
    expect(dayName(noon, noon)).toBe("Today");
    expect(dayName(noon - 24 * 60 * minute, noon)).toBe("Yesterday");
    expect(dayName(noon + 24 * 60 * minute, noon)).toBe("Tomorrow");
  });

  it("proposes an address that the rules allow", () => {
    expect(handleFrom("Garden & Plans 2027!")).toBe("garden-plans-2027");
  });
});
