/** The conversations one is a member of: the list, and for each what the list shows. */
import type { ConversationId, ConversationView, CursorMoved, Entry, Millis, UserId } from "../protocol/types";
import { eventOf, foldView, withRead } from "./fold";
import { Observable } from "./observable";

/** One conversation; replaced views are new objects. */
export class Conversation extends Observable {
  constructor(public view: ConversationView) {
    super();
  }

  get id(): ConversationId {
    return this.view.id;
  }

  /** Messages that one has not read. */
  get unread(): number {
    const mine = this.view.mine;
    return mine ? Math.max(0, this.view.head.messages - mine.read.messages) : 0;
  }

  /** Unread messages that mention one. */
  get mentions(): number {
    return this.view.mine?.mentions?.length ?? 0;
  }

  /** Whether one is told of new messages here. */
  muted(now: Millis = Date.now()): boolean {
    return (this.view.mine?.muted_until ?? 0) > now;
  }

  /** The time of the last message; what a conversation without any is sorted by is its id. */
  get activeAt(): Millis {
    return this.view.last?.entry.at ?? 0;
  }

  /** The other user of a direct conversation; oneself for one's notes. */
  other(me: UserId): UserId | undefined {
    const direct = this.view.direct;
    if (!direct) return undefined;
    return direct[0] === me ? direct[1] : direct[0];
  }

  replace(view: ConversationView): void {
    this.view = view;
    this.changed();
  }
}

export class Conversations extends Observable {
  #all = new Map<ConversationId, Conversation>();
  #list: readonly Conversation[] | undefined;

  /** Latest activity first. The same array until something moves. */
  get list(): readonly Conversation[] {
    this.#list ??= [...this.#all.values()].sort((a, b) => b.activeAt - a.activeAt || b.id - a.id);
    return this.#list;
  }

  get(id: ConversationId): Conversation | undefined {
    return this.#all.get(id);
  }

  /** The direct conversation with a user, if there is one already. */
  directWith(user: UserId, me: UserId): Conversation | undefined {
    return this.list.find((one) => one.other(me) === user);
  }

  /** Unread messages of all conversations that are not muted; mentions count wherever they are. */
  get unread(): { messages: number; mentions: number } {
    const sum = { messages: 0, mentions: 0 };
    for (const one of this.#all.values()) {
      if (!one.muted()) sum.messages += one.unread;
      sum.mentions += one.mentions;
    }
    return sum;
  }

  load(views: readonly ConversationView[]): void {
    const before = this.#all;
    this.#all = new Map();
    for (const view of views) {
      // Whoever watches a conversation goes on watching it after a fresh snapshot.
      const kept = before.get(view.id);
      kept?.replace(view);
      this.#all.set(view.id, kept ?? new Conversation(view));
    }
    this.#moved();
  }

  enter(view: ConversationView): void {
    const kept = this.#all.get(view.id);
    if (kept) kept.replace(view);
    else this.#all.set(view.id, new Conversation(view));
    this.#moved();
  }

  depart(id: ConversationId): void {
    if (this.#all.delete(id)) this.#moved();
  }

  /** An entry of a conversation's log. */
  apply(id: ConversationId, entry: Entry, me: UserId): void {
    this.#change(id, (view) => foldView(view, entry, me));
  }

  /** An entry of one's own log. */
  applyOwn(entry: Entry): void {
    const muted = eventOf(entry, "muted");
    if (!muted) return;
    this.#change(muted.conversation, (view) => {
      if (!view.mine) return view;
      const { muted_until: _, ...mine } = view.mine;
      return { ...view, mine: muted.until === undefined ? mine : { ...mine, muted_until: muted.until } };
    });
  }

  /** One's own cursor, moved on this or another device. */
  applyCursor(cursor: CursorMoved): void {
    this.#change(cursor.conversation, (view) => {
      if (!view.mine) return view;
      const mine = withRead(view.mine, cursor.read);
      return mine === view.mine ? view : { ...view, mine };
    });
  }

  #change(id: ConversationId, change: (view: ConversationView) => ConversationView): void {
    const found = this.#all.get(id);
    if (!found) return;
    const view = change(found.view);
    if (view === found.view) return;
    found.replace(view);
    this.#moved();
  }

  #moved(): void {
    this.#list = undefined;
    this.changed();
  }
}
