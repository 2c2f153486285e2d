/**
 * The whole app without its face: what a view may read (`state`) and do (the methods), wired together.
 * A view never touches the connection or the database.
 */
import { type Ask, Questions, RefusedError } from "./connection/ask";
import { type Credentials, http } from "./connection/http";
import { Socket } from "./connection/socket";
import type {
  Answer,
  Attachment,
  ClientSignal,
  Closing,
  Command,
  ConversationId,
  ConversationKind,
  ConversationView,
  Entry,
  LogId,
  Query,
  Refused,
  Reply,
  Seq,
  ServerFrame,
  ServerSignal,
  UserId,
  Welcome,
} from "./protocol/types";
import { Cache, type Everything } from "./state/cache";
import { type Conversation, Conversations } from "./state/conversations";
import { Disk, dropOthers, wipe } from "./state/database";
import { Drafts } from "./state/drafts";
import { eventOf, messageOf } from "./state/fold";
import { Leader, type Locks } from "./state/leader";
import { Looking } from "./state/looking";
import { Members } from "./state/members";
import { Notifications } from "./state/notifications";
import { batch } from "./state/observable";
import { type Channel, newClientId, Outbox } from "./state/outbox";
import { People } from "./state/people";
import { Pins } from "./state/pins";
import { Presence } from "./state/presence";
import { Receipts } from "./state/receipts";
import { Search } from "./state/search";
import { Session } from "./state/session";
import { Sync } from "./state/sync";
import { Thread } from "./state/thread";
import { type Tail, Timeline } from "./state/timeline";
import { Typing } from "./state/typing";

/** Everything that can be watched. Each is an `Observable`: `subscribe(listener)`, then read again. */
export interface State {
  readonly session: Session;
  readonly conversations: Conversations;
  readonly people: People;
  readonly presence: Presence;
  readonly typing: Typing;
  readonly receipts: Receipts;
  readonly outbox: Outbox;
  readonly drafts: Drafts;
  readonly notifications: Notifications;
  readonly leader: Leader;
}

/** What the browser gives; tests give their own. */
export interface Surroundings {
  disk?: Disk | undefined;
  locks?: Locks | undefined;
  channel?: ((name: string) => Channel) | undefined;
  url?: string;
  /** Loads the page anew. */
  restart?: (() => void) | undefined;
}

/** Surroundings of a page in a browser. */
export async function browser(): Promise<Surroundings> {
  return {
    disk: "indexedDB" in window ? new Disk() : undefined,
    locks: "locks" in navigator ? (navigator.locks as unknown as Locks) : undefined,
    channel: "BroadcastChannel" in window ? (name) => new BroadcastChannel(name) : undefined,
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/ws`,
    restart: () => location.reload(),
  };
}

export interface PostOptions {
  /** Files that were handed over before. */
  attachments?: Attachment[];
  replyTo?: Seq;
  thread?: Seq;
}

export interface NewConversation {
  kind: Exclude<ConversationKind, "direct">;
  name: string;
  handle?: string;
  topic?: string;
  public?: boolean;
  history?: ConversationView["history"];
  posting?: ConversationView["posting"];
  members?: UserId[];
}

const missed_max = 1_000;
const missed_ms = 200;

export class App implements Ask {
  readonly state: State;
  /** Set by the view: a notification was clicked. */
  onOpen: (conversation: ConversationId) => void = () => {};

  readonly #disk: Disk | undefined;
  readonly #restart: (() => void) | undefined;
  readonly #sync: Sync;
  readonly #cache: Cache;
  readonly #socket: Socket;
  readonly #questions: Questions;
  readonly #tabs: Channel | undefined;
  readonly #timelines = new Map<ConversationId, Timeline>();
  readonly #members = new Map<ConversationId, Members>();
  readonly #pins = new Map<ConversationId, Pins>();
  readonly #threads = new Map<string, Thread>();
  readonly #stops: (() => void)[] = [];
  readonly #looking: Looking;
  #caughtUp = false;
  /** Entries that were missed, applied together so that they cost one drawing. */
  #missed: Entry[] = [];
  #missedTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(surroundings: Surroundings = {}) {
    const { disk, locks, channel, url = "/api/ws", restart } = surroundings;
    this.#disk = disk;
    this.#restart = restart;
    this.#socket = new Socket(url, {
      origin: () => this.#sync.origin(),
      frame: (frame) => batch(() => this.#frame(frame)),
      connecting: () => this.state.session.setLink("connecting"),
      gone: (retryAt) => batch(() => this.#gone(retryAt)),
      ended: (closing) => this.#ended(closing),
      failed: () => this.#attemptFailed(),
    });
    this.#questions = new Questions((frame) => this.#socket.send(frame));
    this.#sync = new Sync(this, (entry) => this.#apply(entry));

    const session = new Session();
    const leader = new Leader(locks);
    const conversations = new Conversations();
    const people = new People(this);
    this.state = {
      session,
      leader,
      conversations,
      people,
      presence: new Presence(this),
      typing: new Typing(this),
      receipts: new Receipts(this),
      drafts: new Drafts(disk),
      outbox: new Outbox({
        disk,
        channel: channel?.("chinwag-outbox"),
        leader,
        ask: this,
        me: () => session.me?.id,
        position: (id) => this.#sync.position(`c${id}`) ?? 0,
      }),
      notifications: new Notifications({
        session,
        conversations,
        people,
        leader,
        channel: channel?.("chinwag-visible"),
        open: (id) => this.onOpen(id),
      }),
    };
    this.#cache = new Cache(disk, leader, {
      kept: () => this.#kept(),
      conversations: () => conversations.list.map((one) => one.id),
      conversation: (id) => this.#keptConversation(id),
      people: () => people.all,
      person: (id) => people.peek(id),
    });
    this.#looking = new Looking(this);
    this.#tabs = channel?.("chinwag-tabs");
    if (this.#tabs) this.#tabs.onmessage = (event) => this.#otherTab(event.data as string);
    const leaving = () => this.#leaving();
    window.addEventListener("pagehide", leaving);
    this.#stops.push(() => window.removeEventListener("pagehide", leaving));
  }

  // Starting and ending.

  /** Shows what is kept, and connects if somebody is signed in. */
  async start(): Promise<void> {
    void this.#loadServer();
    const everything = await this.#cache.load();
    if (everything) {
      this.#hydrate(everything);
      await Promise.all([this.state.outbox.load(), this.state.drafts.load()]);
      this.state.session.setPhase("signed_in");
    } else if ((await http.hasSession()) === false) {
      this.state.session.setPhase("signed_out");
      return;
    }
    this.#socket.start();
  }

  async register(who: Credentials): Promise<void> {
    await http.register(who);
    await this.#signedIn();
  }

  async signIn(who: Credentials): Promise<void> {
    const { change_password } = await http.signIn(who);
    await this.#signedIn();
    this.state.session.setChangePassword(change_password === true);
  }

  /** Ends the session and leaves nothing of it in this browser, unsent messages included. */
  async signOut(): Promise<void> {
    try {
      await http.signOut();
    } catch (error) {
      // Already ended is as good; anything else must be known, or the cookie would still be valid.
      if (!(error instanceof RefusedError) || error.refused.kind !== "not_signed_in") throw error;
    }
    this.#tabs?.postMessage("signed_out");
    await this.#leave();
  }

  /** Chooses a new password with the token of a reset link. */
  async resetPassword(token: string, password: string): Promise<void> {
    await http.reset(token, password);
  }

  /** The last entry of a log that has been applied; `undefined`: the log is not followed. */
  position(log: LogId): Seq | undefined {
    return this.#sync.position(log);
  }

  /** Asks again what the server says of itself, after its settings were changed. */
  reloadServer(): Promise<void> {
    return this.#loadServer();
  }

  /** Tries to connect now instead of waiting for the next attempt. */
  reconnect(): void {
    this.#socket.retryNow();
  }

  /** Ends everything that this object does; for tests. */
  async destroy(): Promise<void> {
    this.#socket.destroy();
    this.state.outbox.stop();
    this.state.notifications.stop();
    this.#looking.stop();
    this.#tabs?.close();
    for (const stop of this.#stops) stop();
    await this.#cache.flush();
    this.#cache.destroy();
    this.state.leader.stop();
  }

  // Asking.

  async command(command: Command): Promise<Reply> {
    const reply = await this.#questions.command(command);
    if ("change_password" in command) this.state.session.setChangePassword(false);
    return reply;
  }

  query(query: Query): Promise<Answer> {
    return this.#questions.query(query);
  }

  signal(signal: ClientSignal): void {
    this.#socket.send({ signal });
  }

  // Conversations.

  /** A conversation one is a member of. */
  conversation(id: ConversationId): Conversation | undefined {
    return this.state.conversations.get(id);
  }

  /** Loads the end of a conversation, to show it. */
  async openConversation(id: ConversationId): Promise<Timeline> {
    const timeline = this.timeline(id);
    void this.#learnCursors(id);
    await timeline.open();
    this.#cache.conversation(id);
    return timeline;
  }

  timeline(id: ConversationId): Timeline {
    return kept(this.#timelines, id, () => new Timeline(id, this.#position(id), this));
  }

  members(id: ConversationId): Members {
    return kept(
      this.#members,
      id,
      () =>
        new Members(id, this, (members) => {
          const me = this.state.session.me?.id ?? 0;
          this.state.people.learn(members.map((member) => member.profile));
          this.state.receipts.learn(id, members, me);
        }),
    );
  }

  pins(id: ConversationId): Pins {
    return kept(this.#pins, id, () => new Pins(id, this));
  }

  thread(id: ConversationId, root: Seq): Thread {
    return kept(this.#threads, `${id}/${root}`, () => new Thread(id, root, this));
  }

  /** A new search, independent of others. */
  search(): Search {
    return new Search(this);
  }

  /** Says something: shown at once, sent when it can be. */
  async post(conversation: ConversationId, text: string, options: PostOptions = {}): Promise<void> {
    const user = this.state.session.me?.id;
    if (user === undefined) throw new Error("nobody is signed in");
    this.state.typing.ended(conversation);
    await this.state.outbox.add({
      client_id: newClientId(),
      user,
      conversation,
      text,
      written_at: Date.now(),
      ...(options.attachments?.length ? { attachments: options.attachments } : {}),
      ...(options.replyTo === undefined ? {} : { reply_to: options.replyTo }),
      ...(options.thread === undefined ? {} : { thread: options.thread }),
    });
  }

  /** Tries a failed message again. */
  retry(client_id: string): Promise<void> {
    return this.state.outbox.retry(client_id);
  }

  /** Throws a failed or waiting message away. */
  discard(client_id: string): Promise<void> {
    return this.state.outbox.discard(client_id);
  }

  /** One has seen everything up to `seq`, by default up to the end. Call it only while the page is looked at. */
  markRead(id: ConversationId, seq?: Seq): void {
    const view = this.conversation(id)?.view;
    const me = this.state.session.me?.id;
    if (!view?.mine || me === undefined) return;
    const upTo = seq === undefined || seq >= view.head.seq ? view.head.seq : seq;
    if (upTo <= view.mine.read.seq) return;
    const item = upTo === view.head.seq ? undefined : this.#timelines.get(id)?.find(upTo);
    const messages = upTo === view.head.seq ? view.head.messages : item && messageOf(item)?.number;
    this.state.receipts.read(id, upTo);
    // Where the number is not known here, the server's signal brings it.
    if (messages === undefined) return;
    this.state.conversations.applyCursor({
      conversation: id,
      user: me,
      delivered: upTo,
      read: { seq: upTo, messages },
    });
    this.#cache.conversation(id);
  }

  /** Opens the direct conversation with a user, making it if needed. */
  async openDirect(user: UserId): Promise<ConversationId> {
    const me = this.state.session.me?.id;
    const known = me === undefined ? undefined : this.state.conversations.directWith(user, me);
    if (known) return known.id;
    return this.#entered(await this.command({ open_direct: { user } }));
  }

  async createConversation(what: NewConversation): Promise<ConversationId> {
    return this.#entered(await this.command({ create_conversation: { client_id: newClientId(), ...what } }));
  }

  async join(conversation: ConversationId): Promise<ConversationId> {
    return this.#entered(await this.command({ join: { conversation } }));
  }

  async useInvite(token: string): Promise<ConversationId> {
    return this.#entered(await this.command({ use_invite: { token } }));
  }

  async leave(conversation: ConversationId): Promise<void> {
    await this.command({ leave: { conversation } });
  }

  // Inside.

  async #loadServer(): Promise<void> {
    try {
      this.state.session.setServer(await http.server());
    } catch {
      // Shown by the connection's state; asked again with the next connection.
    }
  }

  async #signedIn(): Promise<void> {
    this.state.session.setPhase("starting");
    this.#tabs?.postMessage("signed_in");
    this.#socket.start();
    await new Promise<void>((resolve, reject) => {
      const stop = this.state.session.subscribe(() => {
        if (this.state.session.phase === "starting") return;
        stop();
        const refused = this.state.session.ended;
        if (refused) reject(new RefusedError(refused));
        else resolve();
      });
    });
  }

  /** The conversation of a reply, once it is known here: its `entered` may come after the answer. */
  async #entered(reply: Reply): Promise<ConversationId> {
    if (!("conversation" in reply)) throw new Error("the server answered something else than a conversation");
    const id = reply.conversation.conversation;
    if (this.state.conversations.get(id)) return id;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        stop();
        resolve();
      };
      const timer = setTimeout(done, 5_000);
      const stop = this.state.conversations.subscribe(() => {
        if (this.state.conversations.get(id)) done();
      });
    });
    return id;
  }

  #frame(frame: ServerFrame): void {
    if ("entry" in frame && !this.#caughtUp) {
      this.#missed.push(frame.entry);
      if (this.#missed.length >= missed_max) this.#applyMissed();
      else this.#missedTimer ??= setTimeout(() => this.#applyMissed(), missed_ms);
      return;
    }
    this.#applyMissed();
    if ("entry" in frame) this.#sync.receive(frame.entry);
    else if ("done" in frame) this.#questions.answered(frame.done.id, frame.done.reply);
    else if ("answer" in frame) this.#questions.answered(frame.answer.id, frame.answer.answer);
    else if ("signal" in frame) this.#signalled(frame.signal);
    else if ("refused" in frame) {
      if (frame.refused.id !== undefined) this.#questions.refused(frame.refused.id, frame.refused.refused);
      else console.error(`the server did not understand a frame: ${frame.refused.refused.message}`);
    } else if ("welcome" in frame) this.#welcome(frame.welcome);
    else if ("resumed" in frame) this.#greeted();
    else if ("caught_up" in frame) this.#onCaughtUp();
  }

  #applyMissed(): void {
    clearTimeout(this.#missedTimer);
    this.#missedTimer = undefined;
    const missed = this.#missed;
    this.#missed = [];
    batch(() => {
      for (const entry of missed) this.#sync.receive(entry);
    });
  }

  #welcome({ epoch, snapshot }: Welcome): void {
    const { session, people, conversations, receipts, typing } = this.state;
    const before = session.me?.id;
    this.#missed = [];
    if (before !== undefined && before !== snapshot.me.id) this.#clear();
    if (before !== snapshot.me.id) void this.#dropOthers(snapshot.me.id);
    session.load(snapshot);
    people.learn([snapshot.me, ...snapshot.users]);
    conversations.load(snapshot.conversations);
    receipts.clear();
    typing.clear();
    const heads = snapshot.conversations.map((view): [string, Seq] => [`c${view.id}`, view.head.seq]);
    this.#sync.reset(epoch, [...snapshot.positions, ...heads]);
    this.#resetAll();
    for (const view of snapshot.conversations) this.#reportDelivered(view);
    this.#cache.everything();
    session.setPhase("signed_in");
    this.#greeted();
  }

  /** What another person left in this browser is no business of this one. */
  async #dropOthers(me: UserId): Promise<void> {
    await this.#disk?.use((database) => dropOthers(database, me)).catch(() => undefined);
    await Promise.all([this.state.outbox.load(), this.state.drafts.load()]);
  }

  #greeted(): void {
    this.state.session.setLink("catching_up");
    if (!this.state.session.server) void this.#loadServer();
    this.state.presence.connected();
    this.#looking.connected();
    this.state.receipts.connected();
    this.state.people.retry();
    this.state.outbox.connected();
  }

  #onCaughtUp(): void {
    this.#caughtUp = true;
    this.state.session.setLink("online");
    this.#cache.touch();
    for (const timeline of this.#timelines.values())
      if (timeline.error && timeline.watched) void timeline.open();
  }

  #gone(retryAt: number | undefined): void {
    this.#applyMissed();
    this.#caughtUp = false;
    this.#questions.lost();
    this.state.outbox.disconnected();
    this.state.presence.disconnected();
    this.state.typing.clear();
    this.state.session.setLink("offline", retryAt);
  }

  /** Nothing was heard: find out whether it is the session or the server. */
  async #attemptFailed(): Promise<boolean> {
    if ((await http.hasSession()) !== false) {
      if (this.state.session.phase === "starting" && !this.state.session.me)
        this.state.session.setLink("offline");
      return true;
    }
    await this.#sessionEnded({ kind: "not_signed_in", code: "not_signed_in", message: "sign in first" });
    return false;
  }

  /** A server that shuts down may say in its haste that nobody is signed in: ask before all is thrown away. */
  async #ended({ reason }: Closing): Promise<boolean> {
    if (reason.kind === "not_signed_in") {
      if ((await http.hasSession()) !== false) return true;
      await this.#sessionEnded(reason);
      return false;
    }
    this.state.session.setPhase(this.state.session.phase, reason);
    return reason.code !== "unsupported_version";
  }

  async #sessionEnded(reason: Refused): Promise<void> {
    await this.#forget(this.state.session.me ? reason : undefined, "keep_outbox");
  }

  /**
   * Leaves nothing of the session in this browser. What was written and not sent outlives a session that ended by
   * itself: whoever signs in again under the same name gets it sent, anybody else gets it thrown away.
   */
  async #forget(reason?: Refused, outbox: "wipe_outbox" | "keep_outbox" = "wipe_outbox"): Promise<void> {
    this.#socket.stop();
    this.#missed = [];
    this.#questions.lost();
    this.state.drafts.clear();
    await this.#cache.stop();
    await this.#disk?.use((database) => wipe(database, outbox === "wipe_outbox")).catch(() => undefined);
    batch(() => {
      this.#clear();
      this.state.session.setPhase("signed_out", reason);
    });
  }

  /** Signed out by choice: the answer told the browser to clear this site, which closes the database for good. */
  async #leave(): Promise<void> {
    await this.#forget();
    this.#restart?.();
  }

  #clear(): void {
    const { session, conversations, people, presence, typing, receipts, outbox, drafts } = this.state;
    session.clear();
    conversations.load([]);
    people.clear();
    presence.disconnected();
    typing.clear();
    receipts.clear();
    outbox.clear();
    drafts.clear();
    this.#timelines.clear();
    this.#members.clear();
    this.#pins.clear();
    this.#threads.clear();
    this.#sync.reset("", []);
  }

  #otherTab(note: string): void {
    const { phase } = this.state.session;
    if (note === "signed_out" && phase !== "signed_out") void this.#leave();
    else if (note === "signed_in" && phase === "signed_out") {
      this.state.session.setPhase("starting");
      this.#socket.start();
    }
  }

  // Applying.

  #apply(entry: Entry): void {
    if (entry.log.startsWith("c")) this.#applyToConversation(Number(entry.log.slice(1)), entry);
    else {
      this.state.session.apply(entry);
      if (entry.log === "d") this.#applyToDirectory(entry);
      else this.#applyToUser(entry);
    }
  }

  #applyToDirectory(entry: Entry): void {
    const changed = eventOf(entry, "user_changed");
    if (!changed) return;
    this.state.people.apply(entry);
    for (const members of this.#members.values()) members.rename(changed.profile);
    this.#cache.person(changed.profile.id);
  }

  #applyToUser(entry: Entry): void {
    const entered = eventOf(entry, "entered")?.conversation;
    const departed = eventOf(entry, "departed")?.conversation;
    const muted = eventOf(entry, "muted")?.conversation;
    this.state.conversations.applyOwn(entry);
    if (entered) {
      this.state.conversations.enter(entered);
      this.#resetOne(entered.id, entered.head.seq);
      this.#sync.follow(`c${entered.id}`, entered.head.seq);
      this.#reportDelivered(entered);
    } else if (departed !== undefined) this.#depart(departed);
    else if (eventOf(entry, "session_ended")?.session === this.state.session.session) {
      void this.#sessionEnded({
        kind: "not_signed_in",
        code: "session_ended",
        message: "this session was ended",
      });
    }
    const touched = entered?.id ?? departed ?? muted;
    if (touched === undefined) this.#cache.touch();
    else this.#cache.conversation(touched);
  }

  /** One is no longer a member: nothing of the conversation stays. */
  #depart(id: ConversationId): void {
    this.state.conversations.depart(id);
    this.#sync.leave(`c${id}`);
    this.state.receipts.forget(id);
    this.#timelines.delete(id);
    this.#members.delete(id);
    this.#pins.delete(id);
    for (const [key, thread] of this.#threads) if (thread.conversation === id) this.#threads.delete(key);
  }

  #applyToConversation(id: ConversationId, entry: Entry): void {
    const me = this.state.session.me?.id ?? 0;
    const gone = eventOf(entry, "left")?.user ?? eventOf(entry, "removed")?.user;
    if (gone === me) {
      // One's own log says it too; whichever comes first.
      this.#depart(id);
      this.#cache.conversation(id);
      return;
    }
    this.state.conversations.apply(id, entry, me);
    this.#timelines.get(id)?.apply(entry);
    this.#members.get(id)?.apply(entry);
    this.#pins.get(id)?.apply(entry);
    for (const thread of this.#threads.values()) if (thread.conversation === id) thread.apply(entry);
    this.#cache.conversation(id);
    if (!messageOf({ entry })) return;
    this.state.typing.stopped(id, entry.by);
    if (entry.by === me) {
      this.state.outbox.recorded(entry);
      return;
    }
    this.state.receipts.spoke(id, entry.by, entry.seq);
    this.state.receipts.delivered(id, entry.seq);
    const conversation = this.state.conversations.get(id);
    if (conversation && this.#caughtUp) this.state.notifications.message(conversation, entry);
  }

  #signalled(signal: ServerSignal): void {
    if ("typing" in signal) {
      if (signal.typing.user !== this.state.session.me?.id) {
        this.state.typing.apply(signal.typing.conversation, signal.typing.user);
      }
    } else if ("presence" in signal) this.state.presence.apply(signal.presence);
    else if ("cursor" in signal && this.conversation(signal.cursor.conversation)) {
      if (signal.cursor.user !== this.state.session.me?.id) this.state.receipts.apply(signal.cursor);
      else {
        this.state.conversations.applyCursor(signal.cursor);
        this.#cache.conversation(signal.cursor.conversation);
      }
    }
  }

  #reportDelivered(view: ConversationView): void {
    if (view.mine && view.head.messages > view.mine.read.messages) {
      this.state.receipts.delivered(view.id, view.head.seq);
    }
  }

  /** How far the others are, for the marks at one's own messages; small conversations only. */
  async #learnCursors(id: ConversationId): Promise<void> {
    const view = this.conversation(id)?.view;
    if (view && view.members <= 100) await this.members(id).open();
  }

  #position(id: ConversationId): Seq {
    return this.#sync.position(`c${id}`) ?? this.conversation(id)?.view.head.seq ?? 0;
  }

  #resetAll(): void {
    for (const id of [...this.#timelines.keys()]) {
      if (this.conversation(id)) this.#resetOne(id, this.#position(id));
      else this.#timelines.delete(id);
    }
    for (const [id, members] of this.#members) if (!this.#timelines.has(id)) members.reset();
  }

  #resetOne(id: ConversationId, position: Seq): void {
    this.#timelines.get(id)?.reset(position);
    this.#members.get(id)?.reset();
    this.#pins.get(id)?.reset();
    for (const thread of this.#threads.values())
      if (thread.conversation === id && thread.watched) thread.reset();
  }

  // Keeping.

  #hydrate({ kept: known, conversations, people }: Everything): void {
    batch(() => {
      this.state.session.load(known);
      this.state.people.learn(people);
      this.state.conversations.load(conversations.map((one) => one.view));
      const logs = known.positions.filter(([log]) => !log.startsWith("c"));
      const own = conversations.map((one): [string, Seq] => [`c${one.id}`, one.position]);
      this.#sync.reset(known.epoch, [...logs, ...own]);
      for (const { id, position, tail } of conversations) {
        if (tail) this.#timelines.set(id, new Timeline(id, position, this, tail));
      }
    });
  }

  #kept() {
    const { me, session, settings, contacts, blocked } = this.state.session;
    const epoch = this.#sync.epoch;
    if (!me || session === undefined || epoch === "") return undefined;
    const positions = this.#sync.positions.filter(([log]) => !log.startsWith("c"));
    return { me, session, settings, contacts: [...contacts], blocked: [...blocked], epoch, positions };
  }

  #keptConversation(id: ConversationId) {
    const view = this.conversation(id)?.view;
    if (!view) return undefined;
    const tail: Tail | undefined = this.#timelines.get(id)?.tail();
    const position = this.#position(id);
    return tail && tail.items.length > 0 ? { id, position, view, tail } : { id, position, view };
  }

  #leaving(): void {
    this.state.receipts.flush();
    void this.state.drafts.flush();
    void this.#cache.flush();
  }
}

function kept<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let found = map.get(key);
  if (found === undefined) {
    found = make();
    map.set(key, found);
  }
  return found;
}
