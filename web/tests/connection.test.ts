/** The socket's life: greeting, silence, closing, coming back. Time stands still unless a test moves it. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Browser, FarSocket as Far, message, settled, socketAt, someSnapshot } from "./far-end";

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await browser.end();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test("says hello with the version and without a token, then shows the snapshot", async () => {
  const { app, socket } = await browser.online();
  expect(socket.hello).toEqual({ version: 1 });
  expect(app.state.session).toMatchObject({ phase: "signed_in", link: "online" });
  expect(app.state.conversations.list.map((one) => one.id)).toEqual([2]);
});

test("resumes after a cut from exactly where it was, and drops what comes twice", async () => {
  const { app, socket } = await browser.online();
  socket.say({ entry: message(2, 5) });
  socket.cut();
  expect(app.state.session.link).toBe("offline");
  await pass(600);
  const again = socketAt(-1);
  again.accept();
  expect(again.hello?.resume?.epoch).toBe("e1");
  expect(Object.fromEntries(again.hello?.resume?.positions ?? [])).toEqual({ u1: 3, d: 3, c2: 5 });
  again.say({ resumed: { session: 7, heartbeat_ms: 30_000 } });
  for (const seq of [5, 6, 6, 7]) again.say({ entry: message(2, seq) });
  again.say({ caught_up: {} });
  expect(app.conversation(2)?.unread).toBe(3);
  expect(app.state.session.link).toBe("online");
});

test("pings when it is quiet and leaves a server that is silent for more than a heartbeat", async () => {
  const { app, socket } = await browser.online();
  await pass(15_000);
  expect(socket.sent.filter((frame) => "ping" in frame)).toHaveLength(1);
  socket.say({ pong: {} });
  await pass(30_000);
  expect(app.state.session.link).toBe("online");
  await pass(15_000);
  expect(socket.readyState).toBe(3);
  await pass(500);
  expect(socketAt(-1)).not.toBe(socket);
});

test("waits longer each time, and tries at once when the network is back", async () => {
  const { socket } = await browser.online();
  socket.cut();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const before = Far.all.length;
    const from = Date.now();
    while (Far.all.length === before) await pass(50);
    waits.push(Date.now() - from);
    socketAt(-1).cut();
    await settled();
  }
  expect(waits[4]).toBeGreaterThan(4 * (waits[0] ?? 0));
  const before = Far.all.length;
  window.dispatchEvent(new Event("online"));
  expect(Far.all.length).toBe(before + 1);
});

test("comes back when the server says so, not before", async () => {
  const { socket } = await browser.online();
  const reason = { kind: "unavailable", code: "restarting", message: "restarting" } as const;
  socket.say({ closing: { reason, retry_after_ms: 5_000 } });
  const before = Far.all.length;
  await pass(4_900);
  expect(Far.all.length).toBe(before);
  await pass(5_200);
  expect(Far.all.length).toBe(before + 1);
});

test("a session that was ended leaves nothing behind and says why", async () => {
  const { app, socket } = await browser.online();
  await pass(500);
  await settled();
  const reason = { kind: "not_signed_in", code: "session_ended", message: "signed out elsewhere" } as const;
  browser.signedIn = false;
  socket.say({ closing: { reason } });
  await settled();
  expect(app.state.session).toMatchObject({ phase: "signed_out", ended: reason, me: undefined });
  expect(app.state.conversations.list).toEqual([]);
  const database = await browser.database();
  expect(await Promise.all([database.count("kept"), database.count("conversations")])).toEqual([0, 0]);
  const before = Far.all.length;
  await pass(60_000);
  expect(Far.all.length).toBe(before);
});

test("a server that is wrong about the session is asked again, slowly", async () => {
  const { app, socket } = await browser.online();
  const reason = {
    kind: "not_signed_in",
    code: "too_slow",
    message: "the first frame must come in time",
  } as const;
  socket.say({ closing: { reason } });
  await settled();
  expect(app.state.session.phase).toBe("signed_in");
  const before = Far.all.length;
  await pass(29_000);
  expect(Far.all.length).toBe(before);
  await pass(31_000);
  expect(Far.all.length).toBeGreaterThan(before);
});

test("a refused upgrade of a dead session ends in the sign-in page, of a dead server in another attempt", async () => {
  const { app, socket } = await browser.online();
  socket.cut();
  await pass(600);
  const second = socketAt(-1);
  second.cut();
  await settled();
  expect(app.state.session.phase).toBe("signed_in");
  browser.signedIn = false;
  await pass(2_000);
  socketAt(-1).cut();
  await settled();
  expect(app.state.session.phase).toBe("signed_out");
});

test("starts with the sign-in page without a session", async () => {
  browser.signedIn = false;
  const app = await browser.tab();
  await app.start();
  expect(app.state.session.phase).toBe("signed_out");
  expect(Far.all).toEqual([]);
});

test("unknown frames are ignored and malformed ones reported, and neither disturbs", async () => {
  const report = vi.spyOn(console, "error").mockImplementation(() => {});
  const { app, socket } = await browser.online();
  for (const text of [
    "",
    "[]",
    "{}",
    "null",
    '{"entry":{"log":"c2"}}',
    '{"entry":{},"pong":{}}',
    '{"welcome":7}',
  ]) {
    socket.onmessage?.({ data: text });
  }
  expect(report).toHaveBeenCalledTimes(7);
  socket.onmessage?.({ data: '{"balloons":{"colour":"red"}}' });
  const odd = { log: "c2", seq: 5, at: 1, by: 2, event: { balloon: {} } };
  socket.onmessage?.({ data: JSON.stringify({ entry: odd }) });
  expect(report).toHaveBeenCalledTimes(7);
  expect(app.position("c2")).toBe(5);
  socket.say({ entry: message(2, 6) });
  expect(app.position("c2")).toBe(6);
});

test("questions are answered by their number, and given up when the connection goes", async () => {
  const { app, socket } = await browser.online();
  const first = app.query({ sessions: {} });
  const second = app.command({ join: { conversation: 9 } });
  const lost = expect(app.query({ sessions: {} })).rejects.toMatchObject({
    refused: { kind: "unavailable" },
  });
  const asked = socket.queries.at(0)?.id ?? 0;
  socket.say({ done: { id: socket.commands[0]?.id ?? 0, reply: { conversation: { conversation: 9 } } } });
  socket.say({ answer: { id: asked, answer: { sessions: [] } } });
  expect(await first).toEqual({ sessions: [] });
  expect(await second).toEqual({ conversation: { conversation: 9 } });
  socket.cut();
  await lost;
});

test("a gap is asked for once and filled, with what came meanwhile", async () => {
  const { app, socket } = await browser.online();
  for (const seq of [8, 9, 10]) socket.say({ entry: message(2, seq) });
  const asked = socket.queries.filter(({ get }) => "entries" in get);
  expect(asked.map(({ get }) => get)).toEqual([{ entries: { log: "c2", after: 4, limit: 200 } }]);
  const entries = [5, 6, 7, 8].map((seq) => message(2, seq));
  socket.say({ answer: { id: asked[0]?.id ?? 0, answer: { entries: { entries, more: false } } } });
  await settled();
  expect(app.position("c2")).toBe(10);
  expect(app.conversation(2)?.unread).toBe(6);
});

test("a reload shows what was known, and names it when it comes back", async () => {
  const { app, socket } = await browser.online();
  const opened = app.openConversation(2);
  const asked = socket.queries.find(({ get }) => "history" in get);
  const history = { items: [{ entry: message(2, 4) }], more_before: false, more_after: false };
  socket.say({ answer: { id: asked?.id ?? 0, answer: { history } } });
  await opened;
  socket.say({ entry: message(2, 5) });
  await app.destroy();

  const later = await browser.tab();
  await later.start();
  expect(later.state.session.phase).toBe("signed_in");
  expect(later.timeline(2).items.map((item) => item.entry.seq)).toEqual([4, 5]);
  expect(later.conversation(2)?.unread).toBe(1);
  const again = socketAt(-1);
  again.accept();
  expect(Object.fromEntries(again.hello?.resume?.positions ?? [])).toEqual({ u1: 3, d: 3, c2: 5 });
  // Another epoch: a backup was restored, and everything is new.
  again.say({ welcome: { epoch: "e2", heartbeat_ms: 30_000, snapshot: someSnapshot() } });
  expect(later.position("c2")).toBe(4);
  await later.destroy();
  const kept = await (await browser.database()).get("kept", "kept");
  expect(kept?.epoch).toBe("e2");
});

test("what is kept never claims more than it holds", async () => {
  const { app, socket } = await browser.online();
  const database = await browser.database();
  for (let seq = 5; seq < 30; seq += 1) {
    socket.say({ entry: message(2, seq) });
    if (seq % 3 === 0) await pass(401);
    const kept = await database.get("conversations", 2);
    expect(kept?.position).toBe(kept?.view.head.seq);
  }
  await app.destroy();
  expect(await database.get("conversations", 2)).toMatchObject({ position: 29, view: { head: { seq: 29 } } });
});
