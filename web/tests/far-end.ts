/**
 * The far end of a page's wires, for tests: sockets that a test holds in its hands, answers to HTTP, locks and
 * channels shared by the tabs of one test. It decides nothing; each test says what the server says.
 */
import { vi } from "vitest";
import { App } from "../src/app";
import type {
  ClientFrame,
  Command,
  ConversationView,
  Entry,
  Event,
  Item,
  Profile,
  Query,
  ServerFrame,
  Snapshot,
} from "../src/protocol/types";
import { type Database, Disk, openDatabase } from "../src/state/database";
import type { Locks } from "../src/state/leader";
import type { Channel } from "../src/state/outbox";
import type { Surroundings } from "../src/surroundings";

export class FarSocket {
  static readonly OPEN = 1;
  static all: FarSocket[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  /** What the page has sent. */
  readonly sent: ClientFrame[] = [];

  constructor(readonly url: string) {
    FarSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientFrame);
  }

  /** The page leaves. */
  close(): void {
    this.readyState = 3;
  }

  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  /** The connection is cut. */
  cut(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  say(frame: ServerFrame): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  get hello() {
    const first = this.sent[0];
    return first && "hello" in first ? first.hello : undefined;
  }

  get commands(): { id: number; do: Command }[] {
    return this.sent.flatMap((frame) => ("command" in frame ? [frame.command] : []));
  }

  get queries(): { id: number; get: Query }[] {
    return this.sent.flatMap((frame) => ("query" in frame ? [frame.query] : []));
  }

  get posts() {
    return this.commands.flatMap(({ id, do: command }) =>
      "post" in command ? [{ id, ...command.post }] : [],
    );
  }

  get signals() {
    return this.sent.flatMap((frame) => ("signal" in frame ? [frame.signal] : []));
  }
}

/** Locks as a browser has them: the first asker holds, the next waits. */
export function newLocks(): Locks {
  let last: Promise<unknown> = Promise.resolve();
  return {
    request(_name, { signal }, work) {
      const turn = last.then(() => (signal.aborted ? undefined : work()));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

/** Channels as a browser has them: everybody but the sender hears. */
export function newChannels(): (name: string) => Channel {
  const open = new Map<string, Set<Channel>>();
  return (name) => {
    const others = open.get(name) ?? new Set();
    open.set(name, others);
    const channel: Channel = {
      onmessage: null,
      postMessage(note) {
        const copy = structuredClone(note);
        for (const other of others) {
          if (other !== channel) queueMicrotask(() => other.onmessage?.({ data: copy } as MessageEvent));
        }
      },
      close() {
        others.delete(channel);
      },
    };
    others.add(channel);
    return channel;
  };
}

let databases = 0;

/** One browser: what its tabs share, and the HTTP of its server. */
export class Browser {
  readonly locks = newLocks();
  readonly channel = newChannels();
  readonly name: string;
  signedIn = true;
  readonly apps: App[] = [];
  readonly #open: Database[] = [];
  readonly #disks: Disk[] = [];

  constructor() {
    databases += 1;
    this.name = `test-${databases}`;
    FarSocket.all = [];
    vi.stubGlobal("WebSocket", FarSocket);
    vi.stubGlobal("fetch", (path: string) => Promise.resolve(this.#http(path)));
  }

  /** A tab that has not started yet. */
  async tab(): Promise<App> {
    const disk = new Disk(this.name);
    this.#disks.push(disk);
    const surroundings: Surroundings = {
      disk,
      locks: this.locks,
      channel: this.channel,
      url: "ws://far/api/ws",
    };
    const app = new App(surroundings);
    this.apps.push(app);
    return app;
  }

  /** A tab that is signed in, and its socket. */
  async online(snapshot: Snapshot = someSnapshot(), epoch = "e1"): Promise<{ app: App; socket: FarSocket }> {
    const app = await this.tab();
    const before = FarSocket.all.length;
    await app.start();
    const socket = socketAt(before);
    socket.accept();
    socket.say({ welcome: { epoch, heartbeat_ms: 30_000, snapshot } });
    socket.say({ caught_up: {} });
    await settled();
    return { app, socket };
  }

  async database(): Promise<Database> {
    const database = await openDatabase(this.name);
    this.#open.push(database);
    return database;
  }

  async end(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.destroy()));
    await Promise.all(this.#disks.map((disk) => disk.close()));
    for (const database of this.#open) database.close();
    vi.unstubAllGlobals();
  }

  #http(path: string): Response {
    if (path === "/api/server") {
      const server = {
        name: "Test",
        version: "0",
        protocol: 1,
        registration: "open",
        needs_setup: false,
        everyone: true,
      };
      return Response.json(server);
    }
    if (path === "/api/sign-in") this.signedIn = true;
    if (path === "/api/sign-out") this.signedIn = false;
    if (this.signedIn || path === "/api/sign-out") return Response.json({ sessions: [] });
    const refused = { kind: "not_signed_in", code: "not_signed_in", message: "sign in first" };
    return Response.json(refused, { status: 401 });
  }
}

export function socketAt(index: number): FarSocket {
  const socket = FarSocket.all.at(index);
  if (!socket) throw new Error("the page has not opened a socket");
  return socket;
}

/** Until everything that was started has run: databases and promises, but no timers. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 30; round += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

export function profile(id: number, handle: string): Profile {
  return { id, handle, name: handle, hue: id * 10, kind: "person" };
}

export function view(id: number, more: Partial<ConversationView> = {}): ConversationView {
  return {
    id,
    kind: "group",
    name: `group ${id}`,
    public: false,
    history: "all",
    posting: "everyone",
    members: 3,
    head: { seq: 4, messages: 1 },
    mine: { role: "member", since: 1, read: { seq: 4, messages: 1 } },
    last: { entry: message(id, 4, 1) },
    ...more,
  };
}

export function someSnapshot(more: Partial<Snapshot> = {}): Snapshot {
  return {
    me: profile(1, "anna"),
    session: 7,
    settings: { theme: "system" },
    conversations: [view(2)],
    users: [profile(2, "bert"), profile(3, "cleo")],
    contacts: [],
    blocked: [],
    positions: [
      ["u1", 3],
      ["d", 3],
    ],
    ...more,
  };
}

export function entry(conversation: number, seq: number, event: Event, by = 2): Entry {
  return { log: `c${conversation}`, seq, at: 1_000 + seq, by, event };
}

/** A message; by default its number is three less than its seq, as the snapshot's conversations have it. */
export function message(
  conversation: number,
  seq: number,
  number = seq - 3,
  by = 2,
  text = `text ${seq}`,
): Entry {
  return entry(conversation, seq, { message: { text, number } }, by);
}

export function items(...entries: Entry[]): Item[] {
  return entries.map((one) => ({ entry: one }));
}
