/**
 * What a timeline draws, line by line: messages in groups, days, what happened besides, what waits to be sent.
 * Pure, so that grouping is tested without a browser.
 */
import type { Entry, Item, MessageBody, Millis, Seq, UserId } from "../../protocol/types";
import type { Pending } from "../../state/outbox";
import { dayStart } from "../shared/format";

export type Row =
  | { kind: "start"; key: string }
  | { kind: "day"; key: string; at: Millis }
  | { kind: "new"; key: string }
  | { kind: "message"; key: string; item: Item; body: MessageBody; first: boolean }
  | { kind: "thread"; key: string; root: Seq; items: Item[] }
  | { kind: "system"; key: string; entries: Entry[] }
  | { kind: "waiting"; key: string; waiting: Pending; first: boolean };

export interface Sight {
  me: UserId;
  direct: boolean;
  /** Whether what is shown begins with the conversation's first entry. */
  complete: boolean;
  /** The last entry that was read when the conversation was opened; no line of new messages without it. */
  readTo?: Seq | undefined;
}

const group_ms = 5 * 60_000;

export function rowsOf(items: readonly Item[], waiting: readonly Pending[], sight: Sight): Row[] {
  const rows: Row[] = sight.complete ? [{ kind: "start", key: "start" }] : [];
  let day = Number.NaN;
  let author = 0;
  let spoke = 0;
  // The line stands only where what was read before it is shown too.
  let marked = sight.readTo === undefined || (!sight.complete && (items[0]?.entry.seq ?? 0) > sight.readTo);
  for (const item of items) {
    const { entry } = item;
    if (!isShown(entry, sight.direct)) continue;
    const body = "message" in entry.event ? entry.event.message : undefined;
    if (dayStart(entry.at) !== day) {
      day = dayStart(entry.at);
      rows.push({ kind: "day", key: `d${day}`, at: entry.at });
      author = 0;
    }
    if (!marked && body && entry.seq > (sight.readTo ?? 0) && entry.by !== sight.me) {
      marked = true;
      author = 0;
      rows.push({ kind: "new", key: "new" });
    }
    if (!body) {
      pushSystem(rows, entry);
      author = 0;
    } else if (body.thread !== undefined) {
      pushReply(rows, item, body.thread);
      author = 0;
    } else {
      const first = entry.by !== author || entry.at - spoke > group_ms || body.reply_to !== undefined;
      rows.push({ kind: "message", key: keyOf(item), item, body, first });
      author = entry.by;
      spoke = entry.at;
    }
  }
  for (const one of waiting) {
    // After a reload its entry may be here before the answer that takes it out of the outbox.
    if (items.some((item) => item.entry.client_id === one.client_id)) continue;
    const first = author !== sight.me || one.reply_to !== undefined || one.written_at - spoke > group_ms;
    rows.push({ kind: "waiting", key: one.client_id, waiting: one, first });
    author = sight.me;
    spoke = one.written_at;
  }
  return rows;
}

/** One's own message keeps the key that it had while it waited, so that it does not blink. */
function keyOf(item: Item): string {
  return item.entry.client_id ?? `m${item.entry.seq}`;
}

function isShown(entry: Entry, direct: boolean): boolean {
  const event = entry.event;
  if ("message" in event || "pinned" in event || "closed" in event) return true;
  if ("call_started" in event || "call_ended" in event) return true;
  if (direct) return false;
  return (
    "created" in event ||
    "changed" in event ||
    "joined" in event ||
    "left" in event ||
    "removed" in event ||
    "banned" in event ||
    "unbanned" in event ||
    "role_changed" in event
  );
}

/** Arrivals and departures in a row are told together. */
function pushSystem(rows: Row[], entry: Entry): void {
  const last = rows.at(-1);
  const before = last?.kind === "system" ? last.entries[0] : undefined;
  if (
    last?.kind === "system" &&
    before &&
    comesAlone(before) &&
    comesAlone(entry) &&
    sameKind(before, entry)
  ) {
    last.entries.push(entry);
    return;
  }
  rows.push({ kind: "system", key: `s${entry.seq}`, entries: [entry] });
}

function comesAlone(entry: Entry): boolean {
  return "left" in entry.event || ("joined" in entry.event && entry.event.joined.how !== "adding");
}

function sameKind(a: Entry, b: Entry): boolean {
  return Object.keys(a.event)[0] === Object.keys(b.event)[0];
}

function pushReply(rows: Row[], item: Item, root: Seq): void {
  const last = rows.at(-1);
  if (last?.kind === "thread" && last.root === root) last.items.push(item);
  else rows.push({ kind: "thread", key: `t${item.entry.seq}`, root, items: [item] });
}

/** The row in which an entry is drawn; the nearest one before it if it is not drawn itself. */
export function indexOfSeq(rows: readonly Row[], seq: Seq): number {
  let found = -1;
  for (const [index, row] of rows.entries()) {
    const first = firstSeq(row);
    if (first !== undefined && first <= seq) found = index;
  }
  return found;
}

export function firstSeq(row: Row | undefined): Seq | undefined {
  if (row?.kind === "message") return row.item.entry.seq;
  if (row?.kind === "thread") return row.items[0]?.entry.seq;
  if (row?.kind === "system") return row.entries[0]?.seq;
  return undefined;
}
