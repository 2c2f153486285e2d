/**
 * Cursors: how far the others have received and read, and reporting one's own.
 * Own reports are gathered for a quarter of a second, so catching up costs one signal per conversation.
 */
import type { Ask } from "../connection/ask";
import type { ConversationId, CursorMoved, MemberView, Seq, UserId } from "../protocol/types";
import { Observable } from "./observable";

export interface Cursor {
  delivered: Seq;
  read: Seq;
}

/** `sent`: recorded by the server; `delivered`: on a device of every other member known; `read`: by any of them. */
export type Mark = "sent" | "delivered" | "read";

const gather_ms = 250;

export class Receipts extends Observable {
  readonly #others = new Map<ConversationId, Map<UserId, Cursor>>();
  readonly #own = new Map<ConversationId, Cursor>();
  readonly #told = new Map<ConversationId, Cursor>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly ask: Pick<Ask, "signal">) {
    super();
  }

  of(conversation: ConversationId, user: UserId): Cursor | undefined {
    return this.#others.get(conversation)?.get(user);
  }

  /** What to show at one's own message. */
  mark(conversation: ConversationId, message: Seq): Mark {
    let delivered = false;
    for (const cursor of this.#others.get(conversation)?.values() ?? []) {
      if (cursor.read >= message) return "read";
      if (cursor.delivered >= message) delivered = true;
    }
    return delivered ? "delivered" : "sent";
  }

  /** The others whose read cursor stands at or after a message. */
  readers(conversation: ConversationId, message: Seq): UserId[] {
    const found = this.#others.get(conversation);
    return found ? [...found].filter(([, cursor]) => cursor.read >= message).map(([user]) => user) : [];
  }

  learn(conversation: ConversationId, members: readonly MemberView[], me: UserId): void {
    for (const member of members) {
      if (member.profile.id !== me) {
        this.#move(conversation, member.profile.id, { delivered: member.delivered, read: member.read });
      }
    }
    this.changed();
  }

  /** A cursor of somebody else moved. Never goes back. */
  apply(moved: CursorMoved): void {
    this.#move(moved.conversation, moved.user, { delivered: moved.delivered, read: moved.read.seq });
    this.changed();
  }

  /** Whoever says something has received what was above it. */
  spoke(conversation: ConversationId, user: UserId, seq: Seq): void {
    this.#move(conversation, user, { delivered: seq, read: 0 });
    this.changed();
  }

  forget(conversation: ConversationId): void {
    this.#others.delete(conversation);
    this.#own.delete(conversation);
    this.#told.delete(conversation);
    this.changed();
  }

  clear(): void {
    this.#others.clear();
    this.#own.clear();
    this.#told.clear();
    this.changed();
  }

  /** This device has everything up to here. */
  delivered(conversation: ConversationId, seq: Seq): void {
    this.#report(conversation, { delivered: seq, read: 0 });
  }

  /** One has seen everything up to here. */
  read(conversation: ConversationId, seq: Seq): void {
    this.#report(conversation, { delivered: seq, read: seq });
  }

  /** A new connection: what was reported to the former one may not have arrived. */
  connected(): void {
    this.#told.clear();
    if (this.#own.size > 0) this.#later();
  }

  /** Sends what is gathered at once, before the page goes away. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [conversation, cursor] of this.#own) {
      const told = this.#told.get(conversation);
      if (told && told.delivered >= cursor.delivered && told.read >= cursor.read) continue;
      this.#told.set(conversation, { ...cursor });
      this.ask.signal({ cursor: { conversation, ...cursor } });
    }
  }

  #report(conversation: ConversationId, cursor: Cursor): void {
    const before = this.#own.get(conversation) ?? { delivered: 0, read: 0 };
    if (before.delivered >= cursor.delivered && before.read >= cursor.read) return;
    this.#own.set(conversation, largest(before, cursor));
    this.#later();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => this.flush(), gather_ms);
  }

  #move(conversation: ConversationId, user: UserId, cursor: Cursor): void {
    let users = this.#others.get(conversation);
    if (!users) {
      users = new Map();
      this.#others.set(conversation, users);
    }
    users.set(user, largest(users.get(user) ?? { delivered: 0, read: 0 }, cursor));
  }
}

function largest(a: Cursor, b: Cursor): Cursor {
  return { delivered: Math.max(a.delivered, b.delivered), read: Math.max(a.read, b.read) };
}
