/** The cases of `fixtures/sync`, which the Rust client runs too, through the whole app and its socket. */
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { App } from "../src/app";
import type { Entry, HistoryPage, Item, ServerSignal, Snapshot } from "../src/protocol/types";
import { isShown } from "../src/state/fold";
import { Browser, type FarSocket, settled } from "./far-end";

interface Case {
  name: string;
  start: Snapshot;
  history?: Paged[];
  steps: Step[];
  expect: Record<string, unknown>;
}
interface Paged {
  conversation: number;
  page: HistoryPage;
}
interface Step {
  entry?: Entry;
  gives?: "applied" | "ignored" | { gap: { log: string; after: number } };
  signal?: ServerSignal;
  fill?: Entry[];
  page?: Paged;
}

const folder = `${import.meta.dirname}/../../fixtures/sync`;
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
const cases = files.map((file) => JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as Case);

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
});
afterEach(() => browser.end());

test("there are cases", () => {
  expect(cases.length).toBeGreaterThan(20);
});

test.each(cases)("$name", async (one) => {
  const { app, socket } = await browser.online(one.start);
  const ended: boolean[] = [];
  app.state.session.subscribe(() => ended.push(app.state.session.phase === "signed_out"));
  for (const { id } of one.start.conversations) app.timeline(id);
  for (const paged of one.history ?? []) await load(app, socket, paged);
  for (const step of one.steps) {
    await take(app, socket, step);
    for (const { id } of app.state.conversations.list) app.timeline(id);
  }
  await settled();
  const document = { ...documentOf(app), ended: ended.includes(true) };
  expect(mismatches(shownOnly(one), document, "")).toEqual([]);
});

async function take(app: App, socket: FarSocket, step: Step): Promise<void> {
  if (step.signal) socket.say({ signal: step.signal });
  if (step.page) await load(app, socket, step.page);
  if (step.fill) {
    const asked = socket.queries.find(
      ({ get }) => "entries" in get && get.entries.log === step.fill?.[0]?.log,
    );
    if (!asked) throw new Error("the app has not asked for what is missing");
    socket.say({ answer: { id: asked.id, answer: { entries: { entries: step.fill, more: false } } } });
    await settled();
  }
  if (!step.entry) return;
  const before = socket.queries.length;
  const gone = app.position(step.entry.log);
  socket.say({ entry: step.entry });
  if (step.gives === undefined) return;
  const asked = socket.queries.slice(before).flatMap(({ get }) => ("entries" in get ? [get.entries] : []));
  const now = app.position(step.entry.log);
  if (typeof step.gives === "object") {
    expect(asked).toMatchObject([step.gives.gap]);
    expect(now).toBe(gone);
    return;
  }
  expect(asked).toEqual([]);
  // Whoever has left a log has no position in it any more.
  if (step.gives === "applied") expect([step.entry.seq, undefined]).toContain(now);
  else expect(now).toBe(gone);
}

/** Loads a page into the timeline, as somebody does who opens the conversation. */
async function load(app: App, socket: FarSocket, { conversation, page }: Paged): Promise<void> {
  const before = socket.queries.length;
  const opened = app.timeline(conversation).open();
  let given = page;
  for (let at = before; at < socket.queries.length; at += 1) {
    const asked = socket.queries[at];
    if (!asked || !("history" in asked.get)) continue;
    socket.say({ answer: { id: asked.id, answer: { history: given } } });
    given = { items: [], more_before: false, more_after: false };
    await settled();
  }
  await opened;
}

function documentOf(app: App): Record<string, unknown> {
  const { session, conversations, people, presence, receipts } = app.state;
  const shown = conversations.list.map((one) => one.view);
  const users = people.all;
  const named = [
    ...session.contacts,
    ...session.blocked,
    ...shown.flatMap((view) => [...(view.direct ?? []), ...(view.last ? [view.last.entry.by] : [])]),
  ];
  const byId = <T>(list: T[], id: (one: T) => number | string) =>
    Object.fromEntries(list.map((one) => [String(id(one)), one]));
  return {
    me: session.me,
    session: session.session,
    settings: session.settings,
    contacts: [...session.contacts].sort((a, b) => a - b),
    blocked: [...session.blocked].sort((a, b) => a - b),
    users: byId(users, (one) => one.id),
    conversations: byId(
      conversations.list.map((one) => ({ ...one.view, unread: one.unread })),
      (one) => one.id,
    ),
    items: Object.fromEntries(shown.map((view) => [view.id, app.timeline(view.id).items])),
    cursors: Object.fromEntries(
      shown.map((view) => [
        view.id,
        Object.fromEntries([1, 2, 3].map((user) => [user, receipts.of(view.id, user)] as const)),
      ]),
    ),
    presence: Object.fromEntries([1, 2, 3].map((user) => [user, presence.of(user)])),
    positions: Object.fromEntries(
      ["d", "u1", "u2", ...[2, 3, 4, 9, 55, 77].map((id) => `c${id}`)].map((log) => [log, app.position(log)]),
    ),
    unknown_users: [...new Set(named.filter((id) => !people.peek(id)))].sort((a, b) => a - b),
  };
}

/**
 * What is expected of this client: its timelines hold only entries that have a place of their own, and of others it
 * keeps how far they have read, not how many messages that is.
 */
function shownOnly(one: Case): Record<string, unknown> {
  const told = [
    ...(one.history ?? []).flatMap(({ page }) => page.items.map((item) => item.entry)),
    ...one.steps.flatMap((step) => [
      ...(step.entry ? [step.entry] : []),
      ...(step.fill ?? []),
      ...(step.page?.page.items.map((item) => item.entry) ?? []),
    ]),
  ];
  const wanted = structuredClone(one.expect) as {
    items?: Record<string, Item[] | null>;
    cursors?: Record<string, Record<string, { delivered: number; read: unknown }> | null>;
  };
  for (const [id, list] of Object.entries(wanted.items ?? {})) {
    if (!wanted.items || !list) continue;
    wanted.items[id] = list.filter((item) => {
      const known = told.find((other) => other.log === `c${id}` && other.seq === item.entry.seq);
      return !known || isShown(known);
    });
  }
  for (const users of Object.values(wanted.cursors ?? {})) {
    for (const cursor of Object.values(users ?? {})) cursor.read = (cursor.read as { seq: number }).seq;
  }
  return wanted;
}

/** The comparison of the fixtures' README: where what is there differs from what is named. */
function mismatches(wanted: unknown, found: unknown, path: string): string[] {
  if (wanted === null)
    return found === null || found === undefined ? [] : [`${path}: ${JSON.stringify(found)} is there`];
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found) || found.length !== wanted.length) {
      return [`${path}: expected ${wanted.length} elements, found ${JSON.stringify(found)}`];
    }
    return wanted.flatMap((one, at) => mismatches(one, found[at], `${path}/${at}`));
  }
  if (typeof wanted === "object") {
    if (typeof found !== "object" || found === null) return [`${path}: found ${JSON.stringify(found)}`];
    const fields = found as Record<string, unknown>;
    return Object.entries(wanted as object).flatMap(([key, value]) =>
      mismatches(value, fields[key], `${path}/${key}`),
    );
  }
  return wanted === found
    ? []
    : [`${path}: expected ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`];
}
