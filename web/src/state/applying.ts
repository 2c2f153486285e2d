/**
 * What each entry and signal does to the state, each in its turn: the one place where what happened on the server
 * becomes what is shown.
 */
import type { ConversationId, ConversationView, Entry, Refused, ServerSignal } from "../protocol/types";
import type { Cache } from "./cache";
import { eventOf, messageOf } from "./fold";
import type { Opened } from "./opened";
import type { State } from "./state";
import type { Sync } from "./sync";

/** What it needs besides. */
export interface ApplyingWith {
  sync: Sync;
  cache: Cache;
  opened: Opened;
  /** Whether what comes now has just happened. */
  isNews: () => boolean;
  /** This very session was ended. */
  ended: (reason: Refused) => void;
}

export class Applying {
  constructor(
    private readonly state: State,
    private readonly using: ApplyingWith,
  ) {}

  entry(entry: Entry): void {
    if (entry.log.startsWith("c")) this.#inConversation(Number(entry.log.slice(1)), entry);
    else {
      this.state.session.apply(entry);
      if (entry.log === "d") this.#inDirectory(entry);
      else this.#inOwn(entry);
    }
  }

  signal(signal: ServerSignal): void {
    const { session, typing, presence, conversations, receipts } = this.state;
    if ("typing" in signal) {
      if (signal.typing.user !== session.me?.id) typing.apply(signal.typing.conversation, signal.typing.user);
    } else if ("presence" in signal) presence.apply(signal.presence);
    else if ("cursor" in signal && conversations.get(signal.cursor.conversation)) {
      if (signal.cursor.user !== session.me?.id) receipts.apply(signal.cursor);
      else {
        conversations.applyCursor(signal.cursor);
        this.using.cache.conversation(signal.cursor.conversation);
      }
    }
  }

  /** What is unread has arrived here, at least. */
  delivered(view: ConversationView): void {
    if (view.mine && view.head.messages > view.mine.read.messages) {
      this.state.receipts.delivered(view.id, view.head.seq);
    }
  }

  #inDirectory(entry: Entry): void {
    const changed = eventOf(entry, "user_changed");
    if (!changed) return;
    this.state.people.apply(entry);
    this.using.opened.rename(changed.profile);
    this.using.cache.person(changed.profile.id);
  }

  #inOwn(entry: Entry): void {
    const { sync, cache, opened } = this.using;
    const entered = eventOf(entry, "entered")?.conversation;
    const departed = eventOf(entry, "departed")?.conversation;
    const muted = eventOf(entry, "muted")?.conversation;
    this.state.conversations.applyOwn(entry);
    if (entered) {
      this.state.conversations.enter(entered);
      opened.reset(entered.id, entered.head.seq);
      sync.follow(`c${entered.id}`, entered.head.seq);
      this.delivered(entered);
    } else if (departed !== undefined) this.#depart(departed);
    else if (eventOf(entry, "session_ended")?.session === this.state.session.session) {
      const message = "this session was ended";
      this.using.ended({ kind: "not_signed_in", code: "session_ended", message });
    }
    const touched = entered?.id ?? departed ?? muted;
    if (touched === undefined) cache.touch();
    else cache.conversation(touched);
  }

  /** One is no longer a member: nothing of the conversation stays. */
  #depart(id: ConversationId): void {
    this.state.conversations.depart(id);
    this.using.sync.leave(`c${id}`);
    this.state.receipts.forget(id);
    this.using.opened.forget(id);
  }

  #inConversation(id: ConversationId, entry: Entry): void {
    const { session, conversations, typing, outbox, receipts, notifications } = this.state;
    const me = session.me?.id ?? 0;
    const gone = eventOf(entry, "left")?.user ?? eventOf(entry, "removed")?.user;
    if (gone === me) {
      // One's own log says it too; whichever comes first.
      this.#depart(id);
      this.using.cache.conversation(id);
      return;
    }
    conversations.apply(id, entry, me);
    this.using.opened.apply(id, entry);
    this.using.cache.conversation(id);
    if (!messageOf({ entry })) return;
    typing.stopped(id, entry.by);
    if (entry.by === me) {
      outbox.recorded(entry);
      return;
    }
    receipts.spoke(id, entry.by, entry.seq);
    receipts.delivered(id, entry.seq);
    const conversation = conversations.get(id);
    if (conversation && this.using.isNews()) notifications.message(conversation, entry);
  }
}
