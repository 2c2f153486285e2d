/**
 * What each event does to what is shown: the client's half of `domain/project.rs`, as pure functions.
 * `fixtures/sync` holds the two together.
 *
 * Invariant: nothing is changed in place. A changed thing is a new object, so a view can compare by identity.
 */
import type {
  CallView,
  ConversationView,
  Entry,
  Event,
  Item,
  MessageBody,
  MessageState,
  Reaction,
  Seq,
  UserId,
} from "../protocol/types";

type KeyOf<U> = U extends unknown ? keyof U : never;
type PartOf<U, K extends PropertyKey> = U extends Record<K, infer V> ? V : never;
export type EventKind = KeyOf<Event>;

/** The body of an event if it is of this kind. */
export function eventOf<K extends EventKind>(entry: Entry, kind: K): PartOf<Event, K> | undefined {
  return (entry.event as Partial<Record<K, PartOf<Event, K>>>)[kind];
}

/** The message that an entry says, if it says one. */
export function messageOf(item: { entry: Entry }): MessageBody | undefined {
  return eventOf(item.entry, "message");
}

/** The text of a message as it stands now; empty if it was deleted. */
export function textOf(item: Item): string {
  if (item.state?.deleted) return "";
  return item.state?.text ?? messageOf(item)?.text ?? "";
}

/** The message that an entry changes, if it changes one: also the first message of a thread that grew. */
export function targetOf(entry: Entry): Seq | undefined {
  const event = entry.event;
  if ("edited" in event) return event.edited.message;
  if ("deleted" in event) return event.deleted.message;
  if ("reacted" in event) return event.reacted.message;
  if ("unreacted" in event) return event.unreacted.message;
  if ("pinned" in event) return event.pinned.message;
  if ("unpinned" in event) return event.unpinned.message;
  if ("message" in event) return event.message.thread;
  return undefined;
}

/** Whether an entry has a place of its own in a timeline; the others only change a message that has one. */
export function isShown(entry: Entry): boolean {
  const event = entry.event;
  return (
    "message" in event ||
    "created" in event ||
    "changed" in event ||
    "joined" in event ||
    "left" in event ||
    "removed" in event ||
    "role_changed" in event ||
    "pinned" in event ||
    "call_started" in event ||
    "call_ended" in event ||
    "closed" in event
  );
}

/** Folds a later entry into an item; returns the same item if the entry is already in it. */
export function foldItem(item: Item, entry: Entry): Item {
  if (targetOf(entry) !== item.entry.seq || entry.seq <= (item.state?.changed ?? 0)) return item;
  const before: MessageState = item.state ?? { changed: 0 };
  const state = { ...foldState(before, entry), changed: entry.seq };
  if (!("deleted" in entry.event)) return { ...item, state };
  const body = messageOf(item);
  if (!body) return { ...item, state };
  const { attachments: _, ...rest } = body;
  return { entry: { ...item.entry, event: { message: { ...rest, text: "" } } }, state };
}

function foldState(state: MessageState, entry: Entry): MessageState {
  const event = entry.event;
  if ("edited" in event) return { ...state, text: event.edited.text, edited_at: entry.at };
  // A deleted message keeps nothing but the number of replies in its thread.
  if ("deleted" in event) return dropUnset({ deleted: true, replies: state.replies, changed: state.changed });
  if ("reacted" in event)
    return withReactions(state, react(state.reactions ?? [], event.reacted.emoji, entry.by));
  if ("unreacted" in event)
    return withReactions(state, unreact(state.reactions ?? [], event.unreacted.emoji, entry.by));
  if ("pinned" in event) return { ...state, pinned: true };
  if ("unpinned" in event) return dropUnset({ ...state, pinned: undefined });
  if ("message" in event) return { ...state, replies: (state.replies ?? 0) + 1 };
  return state;
}

type Loose<T> = { [K in keyof T]: T[K] | undefined };

/** Leaves out what is undefined, so that a folded state equals one that came over the wire. */
function dropUnset(state: Loose<MessageState>): MessageState {
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== undefined)) as MessageState;
}

function withReactions(state: MessageState, reactions: Reaction[]): MessageState {
  return dropUnset({ ...state, reactions: reactions.length > 0 ? reactions : undefined });
}

function react(reactions: Reaction[], emoji: string, user: UserId): Reaction[] {
  const found = reactions.find((reaction) => reaction.emoji === emoji);
  if (!found) return [...reactions, { emoji, users: [user] }];
  if (found.users.includes(user)) return reactions;
  return reactions.map((reaction) =>
    reaction === found ? { emoji, users: [...reaction.users, user] } : reaction,
  );
}

function unreact(reactions: Reaction[], emoji: string, user: UserId): Reaction[] {
  return reactions
    .map((reaction) =>
      reaction.emoji === emoji ? { emoji, users: reaction.users.filter((one) => one !== user) } : reaction,
    )
    .filter((reaction) => reaction.users.length > 0);
}

/** Folds an entry of a conversation's log into the view of it; `me` is whose view it is. */
export function foldView(view: ConversationView, entry: Entry, me: UserId): ConversationView {
  if (entry.seq <= view.head.seq) return view;
  const next: ConversationView = { ...view, head: { ...view.head, seq: entry.seq } };
  const event = entry.event;
  if ("message" in event) foldMessage(next, entry, event.message, me);
  else if ("changed" in event) {
    const { avatar, ...changed } = event.changed;
    Object.assign(next, changed);
    if (avatar?.file) next.avatar = avatar.file;
    else if (avatar) delete next.avatar;
    if (event.changed.public === false) delete next.handle;
    // What is empty is absent on the wire.
    if (next.name === "") delete next.name;
    if (next.topic === "") delete next.topic;
  } else if ("joined" in event) next.members += 1;
  else if ("left" in event) next.members = Math.max(0, next.members - 1);
  else if ("removed" in event) next.members = Math.max(0, next.members - 1);
  else if ("role_changed" in event) {
    if (event.role_changed.user === me && next.mine)
      next.mine = { ...next.mine, role: event.role_changed.role };
  } else if ("deleted" in event) {
    if (next.mine) next.mine = withMentions(next.mine, (seq) => seq !== event.deleted.message);
  } else if ("call_started" in event) {
    next.call = { call: entry.seq, by: entry.by, at: entry.at, ...event.call_started };
  } else if ("call_answered" in event) {
    if (next.call?.call === event.call_answered.call)
      next.call = answered(next.call, entry.by, event.call_answered.accepted);
  } else if ("call_ended" in event) delete next.call;
  else if ("closed" in event) {
    next.closed = true;
    delete next.handle;
    delete next.avatar;
  }
  if (next.last) next.last = foldItem(next.last, entry);
  return next;
}

function foldMessage(view: ConversationView, entry: Entry, body: MessageBody, me: UserId): void {
  view.head = { seq: entry.seq, messages: body.number };
  view.last = { entry };
  if (!view.mine) return;
  if (entry.by === me) {
    // Whoever writes has read what is above: the server moves the cursor in the same way.
    view.mine = withRead(view.mine, { seq: entry.seq, messages: body.number });
  } else if (body.mentions_all || body.mentions?.includes(me)) {
    view.mine = { ...view.mine, mentions: [...(view.mine.mentions ?? []), entry.seq].slice(0, mentions_max) };
  }
}

/** What is empty is absent, as on the wire. */
function answered(call: CallView, by: UserId, accepted: boolean): CallView {
  const { declined: before, ...rest } = call;
  const declined = (before ?? []).filter((user) => user !== by);
  if (!accepted) declined.push(by);
  const next: CallView = accepted ? { ...rest, accepted: [...(rest.accepted ?? []), by] } : rest;
  return declined.length > 0 ? { ...next, declined } : next;
}

const mentions_max = 100;

type Mine = NonNullable<ConversationView["mine"]>;

/**
 * Moves one's own read cursor forward, never back. Of two places with the same number the one that knows of more
 * messages is right: the other was guessed here, while its entries were not at hand.
 */
export function withRead(mine: Mine, read: Mine["read"]): Mine {
  const { seq, messages } = mine.read;
  if (read.seq < seq || (read.seq === seq && read.messages <= messages)) return mine;
  return withMentions({ ...mine, read }, (seq) => seq > read.seq);
}

function withMentions(mine: Mine, keep: (seq: Seq) => boolean): Mine {
  if (!mine.mentions) return mine;
  const mentions = mine.mentions.filter(keep);
  const next = { ...mine, mentions };
  if (mentions.length === 0) delete (next as Loose<Mine>).mentions;
  return next;
}
