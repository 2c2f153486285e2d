/** Being there and being told: presence by looking, notifications of one tab, what is missed in one drawing. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Browser, entry, message, settled, socketAt, someSnapshot, view } from "./far-end";

let browser: Browser;
let visibility: DocumentVisibilityState;
const shown: { title: string; body?: string | undefined }[] = [];

class Note {
  static permission: NotificationPermission = "granted";
  onclick: (() => void) | null = null;
  constructor(title: string, options: NotificationOptions) {
    shown.push({ title, body: options.body });
  }
}

beforeEach(() => {
  browser = new Browser();
  shown.length = 0;
  visibility = "visible";
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => visibility);
  vi.stubGlobal("Notification", Note);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await browser.end();
});

function look(state: DocumentVisibilityState): void {
  visibility = state;
  document.dispatchEvent(new Event("visibilitychange"));
}

test("who looks away is away, and so is who touches nothing for five minutes", async () => {
  const { socket } = await browser.online();
  // A heartbeat so rare that the silence of this far end is no silence.
  socket.say({ resumed: { session: 7, heartbeat_ms: 3_600_000 } });
  const presences = () =>
    socket.signals.flatMap((signal) => ("presence" in signal ? [signal.presence.presence] : []));
  look("hidden");
  look("visible");
  expect(presences()).toEqual(["away", "online"]);
  await vi.advanceTimersByTimeAsync(4 * 60_000);
  window.dispatchEvent(new Event("keydown"));
  await vi.advanceTimersByTimeAsync(4 * 60_000);
  expect(presences()).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(presences()).toEqual(["away", "online", "away"]);
  window.dispatchEvent(new Event("pointermove"));
  expect(presences()).toEqual(["away", "online", "away", "online"]);
});

test("one tab notifies, only of what is wanted, and only while nobody looks", async () => {
  const first = await browser.online(someSnapshot({ conversations: [view(2), view(3)] }));
  const second = await browser.online(someSnapshot({ conversations: [view(2), view(3)] }));
  const say = (conversation: number, seq: number, by = 2) => {
    for (const { socket } of [first, second]) socket.say({ entry: message(conversation, seq, seq - 3, by) });
  };
  say(2, 5);
  expect(shown).toEqual([]);
  look("hidden");
  await settled();
  say(2, 6);
  say(2, 7, 1);
  expect(shown).toEqual([{ title: "bert in group 2", body: "text 6" }]);
  const muted = {
    log: "u1",
    seq: 4,
    at: 1,
    by: 1,
    event: { muted: { conversation: 3, until: Date.now() + 99_000 } },
  };
  for (const { socket } of [first, second]) socket.say({ entry: muted });
  say(3, 5);
  expect(shown).toHaveLength(1);
  const mention = entry(3, 6, { message: { text: "@anna", number: 3, mentions: [1] } });
  for (const { socket } of [first, second]) socket.say({ entry: mention });
  expect(shown).toHaveLength(2);
});

test("what was missed is no news, and costs one drawing", async () => {
  const { app, socket } = await browser.online();
  socket.cut();
  await vi.advanceTimersByTimeAsync(600);
  look("hidden");
  const again = socketAt(-1);
  again.accept();
  again.say({ resumed: { session: 7, heartbeat_ms: 30_000 } });
  let drawings = 0;
  app.state.conversations.subscribe(() => {
    drawings += 1;
  });
  for (let seq = 5; seq < 505; seq += 1) again.say({ entry: message(2, seq) });
  again.say({ caught_up: {} });
  expect([app.conversation(2)?.unread, drawings, shown]).toEqual([500, 1, []]);
});

test("what was not sent when the session ended by itself is sent after signing in again", async () => {
  const { app, socket } = await browser.online();
  socket.cut();
  await app.post(2, "not lost");
  browser.signedIn = false;
  await vi.advanceTimersByTimeAsync(600);
  socketAt(-1).cut();
  await settled();
  expect(app.state.session.phase).toBe("signed_out");
  expect(app.state.outbox.size).toBe(0);
  const signedIn = app.signIn({ handle: "anna", password: "correct horse" });
  await settled();
  const again = socketAt(-1);
  again.accept();
  expect(again.hello?.resume).toBeUndefined();
  again.say({ welcome: { epoch: "e1", heartbeat_ms: 30_000, snapshot: someSnapshot() } });
  await signedIn;
  await settled();
  expect(again.posts.map((post) => post.text)).toEqual(["not lost"]);
});
