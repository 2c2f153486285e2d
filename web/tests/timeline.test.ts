/** Windows of history, live entries, and pages that were on their way while something changed. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { App } from "../src/app";
import type { HistoryPage, Item } from "../src/protocol/types";
import { Browser, entry, type FarSocket, items, message, settled, someSnapshot, view } from "./far-end";

let browser: Browser;
let app: App;
let socket: FarSocket;
beforeEach(async () => {
  browser = new Browser();
  const long = view(2, { head: { seq: 1_000, messages: 997 }, members: 500 });
  ({ app, socket } = await browser.online(someSnapshot({ conversations: [long] })));
});
afterEach(() => browser.end());

function run(from: number, to: number): Item[] {
  return items(...Array.from({ length: to - from + 1 }, (_, at) => message(2, from + at)));
}

function page(from: number, to: number, more: Partial<HistoryPage> = {}): HistoryPage {
  return { items: run(from, to), more_before: from > 1, more_after: false, ...more };
}

/** Answers the last question for history. */
async function answer(history: HistoryPage): Promise<void> {
  const asked = socket.queries.findLast(({ get }) => "history" in get);
  socket.say({ answer: { id: asked?.id ?? 0, answer: { history } } });
  await settled();
}

function anchors(): unknown[] {
  return socket.queries.flatMap(({ get }) => ("history" in get ? [get.history.anchor] : []));
}

function seqs(): number[] {
  return app.timeline(2).items.map((item) => item.entry.seq);
}

test("opens at the end, pages back, and grows with what comes", async () => {
  const opened = app.timeline(2).open();
  await answer(page(921, 1_000));
  await opened;
  expect([seqs().at(0), seqs().at(-1), app.timeline(2).moreAfter]).toEqual([921, 1_000, false]);
  socket.say({ entry: message(2, 1_001) });
  const older = app.timeline(2).loadOlder();
  await answer(page(841, 920));
  await older;
  expect(anchors()).toEqual(["latest", { before: 921 }]);
  expect([seqs().at(0), seqs().at(-1), seqs().length]).toEqual([841, 1_001, 161]);
});

test("jumping away and back shows a window of its own, and windows that meet become one", async () => {
  const opened = app.timeline(2).open();
  await answer(page(921, 1_000));
  await opened;
  const jumped = app.timeline(2).jump(800);
  await answer(page(761, 840, { more_after: true }));
  await jumped;
  expect([app.timeline(2).focus, seqs().at(0), seqs().at(-1), app.timeline(2).moreAfter]).toEqual([
    800,
    761,
    840,
    true,
  ]);
  // What comes meanwhile goes to the end, not into what is shown.
  socket.say({ entry: message(2, 1_001) });
  expect(seqs().at(-1)).toBe(840);
  const newer = app.timeline(2).loadNewer();
  await answer(page(841, 920, { more_after: true }));
  await newer;
  expect([seqs().at(0), seqs().at(-1), app.timeline(2).moreAfter]).toEqual([761, 1_001, false]);
  // A message that is loaded is jumped to without asking.
  const asked = anchors().length;
  await app.timeline(2).jump(990);
  expect(anchors()).toHaveLength(asked);
});

test("an edit that overtakes the page it concerns is not lost", async () => {
  const opened = app.timeline(2).open();
  socket.say({ entry: entry(2, 1_001, { edited: { message: 990, text: "better" } }) });
  await answer(page(921, 1_000));
  await opened;
  expect(app.timeline(2).find(990)?.state).toMatchObject({ text: "better", changed: 1_001 });
});

test("a page that runs ahead of the log is not doubled by it", async () => {
  const opened = app.timeline(2).open();
  const ahead = page(923, 1_002);
  ahead.items[0] = { ...run(923, 923)[0], state: { changed: 1_002, replies: 1 } } as Item;
  await answer(ahead);
  await opened;
  socket.say({ entry: message(2, 1_001) });
  socket.say({ entry: entry(2, 1_002, { message: { text: "text 1002", number: 999, thread: 923 } }) });
  socket.say({ entry: message(2, 1_003) });
  expect(seqs().slice(-3)).toEqual([1_001, 1_002, 1_003]);
  expect(app.timeline(2).find(923)?.state?.replies).toBe(1);
});

test("a page full of reactions goes on to where there is something to see", async () => {
  const opened = app.timeline(2).open();
  const reactions = Array.from({ length: 80 }, (_, at) =>
    entry(2, 921 + at, { reacted: { message: 5, emoji: "👍" } }),
  );
  await answer({ items: items(...reactions), more_before: true, more_after: false });
  await answer(page(841, 920));
  await opened;
  expect(anchors()).toEqual(["latest", { before: 921 }]);
  expect([seqs().at(0), seqs().at(-1)]).toEqual([841, 920]);
  socket.say({ entry: message(2, 1_001) });
  expect(seqs().at(-1)).toBe(1_001);
});

test("the beginning is known when it is reached", async () => {
  const opened = app.timeline(2).open();
  await answer(page(981, 1_000, { more_before: false }));
  await opened;
  expect(app.timeline(2).moreBefore).toBe(false);
});

test("a refused page shows why, and can be asked for again", async () => {
  const opened = app.timeline(2).open();
  const id = socket.queries.at(-1)?.id ?? 0;
  socket.say({ refused: { id, refused: { kind: "unavailable", code: "busy", message: "busy" } } });
  await opened;
  expect([app.timeline(2).error?.code, app.timeline(2).loading]).toEqual(["busy", "none"]);
  const again = app.timeline(2).open();
  await answer(page(921, 1_000));
  await again;
  expect([app.timeline(2).error, seqs().length]).toEqual([undefined, 80]);
});

test("a quoted message that is not loaded is asked for once and follows the log", async () => {
  const opened = app.timeline(2).open();
  await answer(page(921, 1_000));
  await opened;
  expect(app.timeline(2).peek(10)).toBeUndefined();
  app.timeline(2).peek(10);
  expect(anchors()).toEqual(["latest", { around: 10 }]);
  await answer({ items: run(10, 10), more_before: true, more_after: true });
  expect(app.timeline(2).peek(10)?.entry.seq).toBe(10);
  socket.say({ entry: entry(2, 1_001, { deleted: { message: 10 } }) });
  expect(app.timeline(2).peek(10)?.state?.deleted).toBe(true);
});

test("a fresh snapshot throws away what was loaded and loads it again for who looks", async () => {
  const opened = app.timeline(2).open();
  await answer(page(921, 1_000));
  await opened;
  app.timeline(2).subscribe(() => {});
  const later = view(2, { head: { seq: 2_000, messages: 1_997 }, members: 500 });
  socket.say({
    welcome: { epoch: "e2", heartbeat_ms: 30_000, snapshot: someSnapshot({ conversations: [later] }) },
  });
  expect(seqs()).toEqual([]);
  await answer(page(1_921, 2_000));
  expect([seqs().at(0), seqs().at(-1)]).toEqual([1_921, 2_000]);
});

test("a thread holds its replies and follows the log", async () => {
  const thread = app.thread(2, 900);
  const opened = thread.open();
  const reply = (seq: number) => entry(2, seq, { message: { text: "reply", number: seq - 3, thread: 900 } });
  const asked = socket.queries.at(-1);
  expect(asked?.get).toMatchObject({ thread: { root: 900, after: 0 } });
  socket.say({ entry: reply(1_001) });
  const history = { items: [...run(900, 900), { entry: reply(950) }], more_before: false, more_after: false };
  socket.say({ answer: { id: asked?.id ?? 0, answer: { history } } });
  await opened;
  socket.say({ entry: reply(1_002) });
  socket.say({ entry: message(2, 1_003) });
  expect(thread.items.map((item) => item.entry.seq)).toEqual([900, 950, 1_001, 1_002]);
});
