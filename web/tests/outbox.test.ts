/** A message that was written is sent exactly once, whatever happens to the connection, the page and the tabs. */
import { deleteDB } from "idb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  Browser,
  FarSocket as Far,
  type FarSocket,
  message,
  profile,
  settled,
  socketAt,
  someSnapshot,
} from "./far-end";

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
});
afterEach(async () => {
  vi.useRealTimers();
  await browser.end();
});

function acknowledge(socket: FarSocket, at: number, seq: number): void {
  const post = socket.posts[at];
  if (!post) throw new Error("nothing was sent");
  const posted = { conversation: post.conversation, seq, at: 1_000 + seq };
  socket.say({ done: { id: post.id, reply: { posted } } });
}

function record(socket: FarSocket, at: number, seq: number): void {
  const post = socket.posts[at];
  if (!post) throw new Error("nothing was sent");
  const entry = message(post.conversation, seq, seq - 3, 1, post.text);
  socket.say({ entry: { ...entry, client_id: post.client_id } });
}

test("a message is shown at once, sent, and gone from the outbox when its entry has come", async () => {
  const { app, socket } = await browser.online();
  const written = app.post(2, "hello", { replyTo: 4 });
  expect(app.state.outbox.pending(2)).toMatchObject([{ text: "hello", state: "waiting" }]);
  await written;
  await settled();
  expect(socket.posts).toMatchObject([{ conversation: 2, text: "hello", reply_to: 4 }]);
  acknowledge(socket, 0, 5);
  await settled();
  expect(app.state.outbox.pending(2)).toMatchObject([{ state: "sent", seq: 5 }]);
  record(socket, 0, 5);
  expect(app.state.outbox.pending(2)).toEqual([]);
  expect(app.timeline(2).items).toEqual([]);
  expect(app.conversation(2)?.unread).toBe(0);
  await settled();
  expect(await (await browser.database()).count("outbox")).toBe(0);
});

test("an entry that comes before its answer settles the message too", async () => {
  const { app, socket } = await browser.online();
  await app.post(2, "hello");
  await settled();
  record(socket, 0, 5);
  acknowledge(socket, 0, 5);
  await settled();
  expect(app.state.outbox.pending(2)).toEqual([]);
});

test("messages of one conversation are sent one after the other, those of others meanwhile", async () => {
  const { app, socket } = await browser.online();
  await Promise.all([app.post(2, "first"), app.post(2, "second"), app.post(9, "elsewhere")]);
  await settled();
  expect(socket.posts.map((post) => post.text)).toEqual(["first", "elsewhere"]);
  acknowledge(socket, 0, 5);
  await settled();
  expect(socket.posts.map((post) => post.text)).toEqual(["first", "elsewhere", "second"]);
});

test("what was asked when the connection broke is asked again with the same client_id", async () => {
  const { app, socket } = await browser.online();
  await app.post(2, "hello");
  await settled();
  const [before] = socket.posts;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  socket.cut();
  await settled();
  await app.post(2, "offline");
  await vi.advanceTimersByTimeAsync(600);
  const again = socketAt(-1);
  expect(again).not.toBe(socket);
  again.accept();
  expect(again.hello?.resume?.epoch).toBe("e1");
  again.say({ resumed: { session: 7, heartbeat_ms: 30_000 } });
  await settled();
  expect(again.posts.map((post) => post.client_id)).toEqual([before?.client_id]);
  acknowledge(again, 0, 5);
  await settled();
  expect(again.posts.map((post) => post.text)).toEqual(["hello", "offline"]);
});

test("a message written offline survives a reload and is sent once", async () => {
  const { app, socket } = await browser.online();
  socket.cut();
  await app.post(2, "written on a train");
  const [pending] = app.state.outbox.pending(2);
  await app.destroy();

  const later = await browser.tab();
  const before = Far.all.length;
  await later.start();
  expect(later.state.outbox.pending(2)).toMatchObject([{ text: "written on a train", state: "waiting" }]);
  const again = socketAt(before);
  again.accept();
  again.say({ resumed: { session: 7, heartbeat_ms: 30_000 } });
  again.say({ caught_up: {} });
  await settled();
  expect(again.posts).toMatchObject([{ client_id: pending?.client_id, text: "written on a train" }]);
  acknowledge(again, 0, 5);
  record(again, 0, 5);
  await settled();
  expect(again.posts).toHaveLength(1);
  expect(await (await browser.database()).count("outbox")).toBe(0);
});

test("a page that died between the sending and the answer does not show its message twice", async () => {
  const { app, socket } = await browser.online();
  await app.post(2, "hello");
  await settled();
  const sent = socket.posts[0];
  await app.destroy();

  const later = await browser.tab();
  const before = Far.all.length;
  await later.start();
  const again = socketAt(before);
  again.accept();
  again.say({ resumed: { session: 7, heartbeat_ms: 30_000 } });
  // The server has had it all along; the entry comes with what was missed.
  again.say({ entry: { ...message(2, 5, 2, 1, "hello"), client_id: sent?.client_id ?? "" } });
  again.say({ caught_up: {} });
  await settled();
  expect(later.state.outbox.pending(2)).toEqual([]);
  expect(later.conversation(2)?.view.head).toEqual({ seq: 5, messages: 2 });
  expect(await (await browser.database()).count("outbox")).toBe(0);
});

describe("two tabs", () => {
  test("one sends what the other writes, and both see it settle", async () => {
    const first = await browser.online();
    const second = await browser.online();
    expect([first.app.state.leader.leading, second.app.state.leader.leading]).toEqual([true, false]);
    await second.app.post(2, "from the second tab");
    await settled();
    expect(second.socket.posts).toEqual([]);
    expect(first.socket.posts).toMatchObject([{ text: "from the second tab" }]);
    expect(first.app.state.outbox.pending(2)).toHaveLength(1);
    acknowledge(first.socket, 0, 5);
    await settled();
    expect(second.app.state.outbox.pending(2)).toMatchObject([{ state: "sent", seq: 5 }]);
    const post = first.socket.posts[0];
    const entry = { ...message(2, 5, 2, 1, "from the second tab"), client_id: post?.client_id ?? "" };
    for (const { socket } of [first, second]) socket.say({ entry });
    expect(second.app.state.outbox.pending(2)).toEqual([]);
    expect(first.app.state.outbox.pending(2)).toEqual([]);
  });

  test("when the leading tab goes, the other one sends what is left", async () => {
    const first = await browser.online();
    const second = await browser.online();
    first.socket.cut();
    await second.app.post(2, "hello");
    await settled();
    expect(second.socket.posts).toEqual([]);
    await first.app.destroy();
    await settled();
    expect(second.app.state.leader.leading).toBe(true);
    expect(second.socket.posts).toMatchObject([{ text: "hello" }]);
    acknowledge(second.socket, 0, 5);
    await settled();
    expect(second.socket.posts).toHaveLength(1);
  });

  test("a failed message can be retried and discarded from either", async () => {
    const first = await browser.online();
    const second = await browser.online();
    await second.app.post(2, "hello");
    await settled();
    const refused = { kind: "forbidden", code: "posting", message: "only admins post here" } as const;
    first.socket.say({ refused: { id: first.socket.posts[0]?.id ?? 0, refused } });
    await settled();
    const [failed] = second.app.state.outbox.pending(2);
    expect(failed).toMatchObject({ state: "failed", failed: refused });
    await second.app.retry(failed?.client_id ?? "");
    await settled();
    // What was refused is refused for ever: a new attempt is a new message.
    const ids = first.socket.posts.map((post) => post.client_id);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(2);
    expect(first.app.state.outbox.pending(2)).toMatchObject([{ client_id: ids[1], state: "sending" }]);
    const kept = await (await browser.database()).getAll("outbox");
    expect(kept.map((one) => one.client_id)).toEqual([ids[1]]);
    first.socket.say({ refused: { id: first.socket.posts[1]?.id ?? 0, refused } });
    await settled();
    await second.app.discard(ids[1] ?? "");
    await settled();
    expect(first.app.state.outbox.pending(2)).toEqual([]);
    expect(second.app.state.outbox.pending(2)).toEqual([]);
    expect(await (await browser.database()).count("outbox")).toBe(0);
  });

  test("signing out in one signs the other out", async () => {
    const first = await browser.online();
    const second = await browser.online();
    await first.app.signOut();
    await settled();
    expect(first.app.state.session.phase).toBe("signed_out");
    expect(second.app.state.session.phase).toBe("signed_out");
    expect(second.app.state.conversations.list).toEqual([]);
  });
});

test("a refusal that can pass is waited out", async () => {
  const { app, socket } = await browser.online();
  await app.post(2, "hello");
  await settled();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const refused = { kind: "too_many", code: "too_many", message: "slow down", retry_after_ms: 700 } as const;
  socket.say({ refused: { id: socket.posts[0]?.id ?? 0, refused } });
  await settled();
  await vi.advanceTimersByTimeAsync(699);
  expect(socket.posts).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  await settled();
  expect(socket.posts).toHaveLength(2);
});

test("a failed message is still there after a reload, and is not sent by itself", async () => {
  const { app, socket } = await browser.online();
  await app.post(2, "hello");
  await settled();
  const refused = { kind: "forbidden", code: "posting", message: "only admins post here" } as const;
  socket.say({ refused: { id: socket.posts[0]?.id ?? 0, refused } });
  await settled();
  await app.destroy();
  const later = await browser.online();
  expect(later.app.state.outbox.pending(2)).toMatchObject([{ state: "failed", failed: { code: "posting" } }]);
  expect(later.socket.posts).toEqual([]);
});

test("what one person has not sent is not sent by the next", async () => {
  const { app, socket } = await browser.online();
  socket.cut();
  await app.post(2, "private");
  await app.destroy();
  const other = someSnapshot({ me: profile(3, "cleo") });
  const later = await browser.online(other);
  await settled();
  expect(later.socket.posts).toEqual([]);
  expect(later.app.state.outbox.size).toBe(0);
  expect(await (await browser.database()).count("outbox")).toBe(0);
});

test("a database that was taken away at sign-out is made anew for the next session", async () => {
  const { app } = await browser.online();
  await app.signOut();
  await settled();
  // What a browser does when the server says Clear-Site-Data.
  await deleteDB(browser.name);
  const signedIn = app.signIn({ handle: "anna", password: "correct horse" });
  await settled();
  const socket = socketAt(-1);
  socket.accept();
  socket.say({ welcome: { epoch: "e1", heartbeat_ms: 30_000, snapshot: someSnapshot() } });
  await signedIn;
  await app.post(2, "first");
  await app.post(2, "second");
  await settled();
  acknowledge(socket, 0, 5);
  await settled();
  expect(socket.posts.map((post) => post.text)).toEqual(["first", "second"]);
  expect(await (await browser.database()).count("outbox")).toBe(1);
});
