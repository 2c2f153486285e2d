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
  LogId,
  Query,
  Refused,
  Reply,
  Seq,
  ServerFrame,
  UserId,
  Welcome,
} from "./protocol/types";
import { Applying } from "./state/applying";
import { Cache, type Everything } from "./state/cache";
import { type Conversation, Conversations } from "./state/conversations";
import { type Disk, dropOthers, wipe } from "./state/database";
import { Drafts } from "./state/drafts";
import { messageOf } from "./state/fold";
import { Leader } from "./state/leader";
import { Looking } from "./state/looking";
import type { Members } from "./state/members";
import { Missed } from "./state/missed";
import { Notifications } from "./state/notifications";
import { batch } from "./state/observable";
import { Opened } from "./state/opened";
import { type Channel, newClientId, Outbox } from "./state/outbox";
import { People } from "./state/people";
import type { Pins } from "./state/pins";
import { Presence } from "./state/presence";
import { Receipts } from "./state/receipts";
import { Search } from "./state/search";
import { type Phase, Session } from "./state/session";
import type { State } from "./state/state";
import { Sync } from "./state/sync";
import type { Thread } from "./state/thread";
import type { Tail, Timeline } from "./state/timeline";
import { Typing } from "./state/typing";
import type { Surroundings } from "./surroundings";

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

export class App implements Ask {
  readonly state: State;
  /** Set by the view: a notification was clicked. */
  onOpen: (conversation: ConversationId) => void = () => {};

  readonly #disk: Disk | undefined;
  readonly #restart: (() => void) | undefined;
  readonly #sync: Sync;
  readonly #missed: Missed;
  readonly #cache: Cache;
  readonly #socket: Socket;
  readonly #questions: Questions;
  readonly #tabs: Channel | undefined;
  readonly #opened: Opened;
  readonly #applying: Applying;
  readonly #stops: (() => void)[] = [];
  readonly #looking: Looking;
  #caughtUp = false;

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
    this.#sync = new Sync(this, (entry) => this.#applying.entry(entry));
    this.#missed = new Missed((entry) => this.#sync.receive(entry));

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
    this.#opened = new Opened(this, {
      reached: (id) => this.#position(id),
      isIn: (id) => conversations.get(id) !== undefined,
      met: (id, members) => {
        people.learn(members.map((member) => member.profile));
        this.state.receipts.learn(id, members, session.me?.id ?? 0);
      },
    });
    this.#applying = new Applying(this.state, {
      sync: this.#sync,
      cache: this.#cache,
      opened: this.#opened,
      isNews: () => this.#caughtUp,
      ended: (reason) => void this.#sessionEnded(reason),
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
    return this.#opened.timeline(id);
  }

  members(id: ConversationId): Members {
    return this.#opened.members(id);
  }

  pins(id: ConversationId): Pins {
    return this.#opened.pins(id);
  }

  thread(id: ConversationId, root: Seq): Thread {
    return this.#opened.thread(id, root);
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
    const item = upTo === view.head.seq ? undefined : this.#opened.peek(id)?.find(upTo);
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
      this.#missed.add(frame.entry);
      return;
    }
    this.#missed.apply();
    if ("entry" in frame) this.#sync.receive(frame.entry);
    else if ("done" in frame) this.#questions.answered(frame.done.id, frame.done.reply);
    else if ("answer" in frame) this.#questions.answered(frame.answer.id, frame.answer.answer);
    else if ("signal" in frame) this.#applying.signal(frame.signal);
    else if ("refused" in frame) {
      if (frame.refused.id !== undefined) this.#questions.refused(frame.refused.id, frame.refused.refused);
      else console.error(`the server did not understand a frame: ${frame.refused.refused.message}`);
    } else if ("welcome" in frame) this.#welcome(frame.welcome);
    else if ("resumed" in frame) this.#greeted();
    else if ("caught_up" in frame) this.#onCaughtUp();
  }

  #welcome({ epoch, snapshot }: Welcome): void {
    const { session, people, conversations, receipts, typing } = this.state;
    const before = session.me?.id;
    this.#missed.drop();
    if (before !== undefined && before !== snapshot.me.id) this.#clear();
    if (before !== snapshot.me.id) void this.#dropOthers(snapshot.me.id);
    session.load(snapshot);
    people.learn([snapshot.me, ...snapshot.users]);
    conversations.load(snapshot.conversations);
    receipts.clear();
    typing.clear();
    const heads = snapshot.conversations.map((view): [string, Seq] => [`c${view.id}`, view.head.seq]);
    this.#sync.reset(epoch, [...snapshot.positions, ...heads]);
    this.#opened.resetAll();
    for (const view of snapshot.conversations) this.#applying.delivered(view);
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
    this.#opened.retry();
  }

  #gone(retryAt: number | undefined): void {
    this.#missed.apply();
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
    await this.#forget("keep", "signed_out", this.state.session.me ? reason : undefined);
  }

  /**
   * Leaves nothing of the session in this browser. What was written and not sent outlives a session that ended by
   * itself: whoever signs in again under the same name gets it sent, anybody else gets it thrown away.
   */
  async #forget(outbox: "wipe" | "keep", phase: Phase = "signed_out", reason?: Refused): Promise<void> {
    this.#socket.stop();
    this.#missed.drop();
    this.#questions.lost();
    this.state.drafts.clear();
    await this.#cache.stop();
    await this.#disk?.use((database) => wipe(database, outbox === "wipe")).catch(() => undefined);
    batch(() => {
      this.#clear();
      this.state.session.setPhase(phase, reason);
    });
  }

  /** Signed out by choice: the answer told the browser to clear this site, which closes the database for good. */
  async #leave(): Promise<void> {
    // No form before the page is loaded anew: what somebody typed into it would be lost.
    await this.#forget("wipe", this.#restart ? "starting" : "signed_out");
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
    this.#opened.clear();
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

  /** How far the others are, for the marks at one's own messages; small conversations only. */
  async #learnCursors(id: ConversationId): Promise<void> {
    const view = this.conversation(id)?.view;
    if (view && view.members <= 100) await this.members(id).open();
  }

  #position(id: ConversationId): Seq {
    return this.#sync.position(`c${id}`) ?? this.conversation(id)?.view.head.seq ?? 0;
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
        if (tail) this.#opened.restore(id, position, tail);
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
    const tail: Tail | undefined = this.#opened.peek(id)?.tail();
    const position = this.#position(id);
    return tail && tail.items.length > 0 ? { id, position, view, tail } : { id, position, view };
  }

  #leaving(): void {
    this.state.receipts.flush();
    void this.state.drafts.flush();
    void this.#cache.flush();
  }
}
