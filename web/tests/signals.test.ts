/** Presence, typing, cursors, people: what passes, and how little is said for it. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { App } from "../src/app";
import { Browser, entry, type FarSocket, message, profile, settled, someSnapshot, view } from "./far-end";

let browser: Browser;
let app: App;
let socket: FarSocket;
beforeEach(async () => {
  browser = new Browser();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  ({ app, socket } = await browser.online(someSnapshot({ conversations: [view(2), view(3)] })));
});
afterEach(async () => {
  vi.useRealTimers();
  await browser.end();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const told = (kind: string) => socket.signals.filter((signal) => kind in signal);

test("what is watched is told in one list, and once", async () => {
  const stop = app.state.presence.watch([2, 3]);
  const again = app.state.presence.watch([3, 9]);
  await pass(150);
  expect(told("watch")).toEqual([{ watch: { users: [2, 3, 9] } }]);
  stop();
  stop();
  await pass(150);
  expect(told("watch").at(-1)).toEqual({ watch: { users: [3, 9] } });
  again();
  app.state.presence.watch([3, 9]);
  await pass(150);
  expect(told("watch")).toHaveLength(2);
  socket.say({ signal: { presence: [{ user: 3, presence: "online" }] } });
  expect([app.state.presence.of(3), app.state.presence.of(9)]).toEqual(["online", "offline"]);
  socket.cut();
  expect(app.state.presence.of(3)).toBe("offline");
});

test("typing ends by itself after six seconds, and with the message", async () => {
  socket.say({ signal: { typing: { conversation: 2, user: 2 } } });
  socket.say({ signal: { typing: { conversation: 2, user: 3 } } });
  socket.say({ signal: { typing: { conversation: 2, user: 1 } } });
  expect(app.state.typing.in(2)).toEqual([2, 3]);
  socket.say({ entry: message(2, 5, 2, 2) });
  expect(app.state.typing.in(2)).toEqual([3]);
  let drawn = 0;
  app.state.typing.subscribe(() => {
    drawn += 1;
  });
  await pass(6_100);
  expect(app.state.typing.in(2)).toEqual([]);
  expect(drawn).toBeGreaterThan(0);
});

test("own typing is told at most every four seconds", async () => {
  for (let key = 0; key < 50; key += 1) {
    app.state.typing.tell(2);
    await pass(100);
  }
  expect(told("typing")).toHaveLength(2);
});

test("own cursors are gathered, and never go back", async () => {
  for (let seq = 5; seq < 105; seq += 1) socket.say({ entry: message(2, seq) });
  socket.say({ entry: message(3, 5) });
  await pass(300);
  expect(told("cursor")).toEqual([
    { cursor: { conversation: 2, delivered: 104, read: 0 } },
    { cursor: { conversation: 3, delivered: 5, read: 0 } },
  ]);
  expect(app.conversation(2)?.unread).toBe(100);
  app.markRead(2);
  app.markRead(2, 50);
  expect(app.conversation(2)?.unread).toBe(0);
  await pass(300);
  expect(told("cursor").slice(2)).toEqual([{ cursor: { conversation: 2, delivered: 104, read: 104 } }]);
});

test("a cursor of one's own from another device takes the unread away", () => {
  socket.say({ entry: message(2, 5) });
  socket.say({ entry: entry(2, 6, { message: { text: "@anna", number: 3, mentions: [1] } }) });
  expect([app.conversation(2)?.unread, app.conversation(2)?.mentions]).toEqual([2, 1]);
  const cursor = { conversation: 2, user: 1, delivered: 6, read: { seq: 6, messages: 3 } };
  socket.say({ signal: { cursor } });
  expect([app.conversation(2)?.unread, app.conversation(2)?.mentions]).toEqual([0, 0]);
});

test("marks at one's own message follow the others' cursors", () => {
  socket.say({ entry: message(2, 5, 2, 1) });
  expect(app.state.receipts.mark(2, 5)).toBe("sent");
  const cursor = { conversation: 2, user: 2, delivered: 5, read: { seq: 4, messages: 1 } };
  socket.say({ signal: { cursor } });
  expect(app.state.receipts.mark(2, 5)).toBe("delivered");
  socket.say({ signal: { cursor: { ...cursor, read: { seq: 5, messages: 2 } } } });
  expect(app.state.receipts.mark(2, 5)).toBe("read");
  expect(app.state.receipts.readers(2, 5)).toEqual([2]);
});

test("unknown people are asked for together, and not again", async () => {
  for (const user of [50, 51, 50, 52]) expect(app.state.people.get(user)).toBeUndefined();
  await pass(20);
  const asked = socket.queries.filter(({ get }) => "users" in get);
  expect(asked.map(({ get }) => get)).toEqual([{ users: { users: [50, 51, 52] } }]);
  socket.say({
    answer: { id: asked[0]?.id ?? 0, answer: { users: [profile(50, "dora"), profile(51, "emil")] } },
  });
  await settled();
  expect(app.state.people.name(50)).toBe("dora");
  app.state.people.get(52);
  await pass(20);
  expect(socket.queries.filter(({ get }) => "users" in get)).toHaveLength(1);
});

test("the list is sorted by what was said last", () => {
  socket.say({ entry: message(3, 5) });
  expect(app.state.conversations.list.map((one) => one.id)).toEqual([3, 2]);
  // Too early: nothing was said yet as far as this list knows.
  socket.say({ entry: message(2, 6) });
  expect(app.state.conversations.list.map((one) => one.id)).toEqual([3, 2]);
  socket.say({ entry: message(2, 5) });
  expect(app.state.conversations.list.map((one) => one.id)).toEqual([2, 3]);
});

test("the title counts what is unread and not muted", () => {
  socket.say({ entry: message(2, 5) });
  socket.say({ entry: message(3, 5) });
  expect(document.title).toBe("(2) Test");
  const until = Date.now() + 60_000;
  const muted = { log: "u1", seq: 4, at: 1, by: 1, event: { muted: { conversation: 3, until } } };
  socket.say({ entry: muted });
  expect(document.title).toBe("(1) Test");
});

test("drafts are kept over a reload, and an empty one is none", async () => {
  app.state.drafts.set(2, { text: "half a thou" });
  app.state.drafts.set(3, { text: "x" });
  app.state.drafts.set(3, { text: "" });
  app.state.drafts.set(2, { text: "in the thread" }, 4);
  await app.state.drafts.flush();
  await app.destroy();
  const later = await browser.online();
  expect(later.app.state.drafts.get(2)).toMatchObject({ text: "half a thou" });
  expect(later.app.state.drafts.get(2, 4)).toMatchObject({ text: "in the thread" });
  expect(later.app.state.drafts.get(3)).toBeUndefined();
});
