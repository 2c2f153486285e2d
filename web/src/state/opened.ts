/**
 * What was opened of conversations: timelines, members, pins, threads. Each is made when it is first wanted, and kept
 * in step by the entries that come after.
 */
import type { Ask } from "../connection/ask";
import type { ConversationId, Entry, MemberView, Profile, Seq } from "../protocol/types";
import { Members } from "./members";
import { Pins } from "./pins";
import { Thread } from "./thread";
import { type Tail, Timeline } from "./timeline";

/** What it asks of the rest of the app. */
export interface OpenedSource {
  /** The last entry of a conversation that has been applied. */
  reached(id: ConversationId): Seq;
  /** Whether one is a member of it still. */
  isIn(id: ConversationId): boolean;
  /** Members were told, with who they are and how far they have read. */
  met(id: ConversationId, members: readonly MemberView[]): void;
}

export class Opened {
  readonly #timelines = new Map<ConversationId, Timeline>();
  readonly #members = new Map<ConversationId, Members>();
  readonly #pins = new Map<ConversationId, Pins>();
  readonly #threads = new Map<string, Thread>();

  constructor(
    private readonly ask: Ask,
    private readonly source: OpenedSource,
  ) {}

  timeline(id: ConversationId): Timeline {
    return made(this.#timelines, id, () => new Timeline(id, this.source.reached(id), this.ask));
  }

  members(id: ConversationId): Members {
    const met = (members: readonly MemberView[]) => this.source.met(id, members);
    return made(this.#members, id, () => new Members(id, this.ask, met));
  }

  pins(id: ConversationId): Pins {
    return made(this.#pins, id, () => new Pins(id, this.ask));
  }

  thread(id: ConversationId, root: Seq): Thread {
    return made(this.#threads, `${id}/${root}`, () => new Thread(id, root, this.ask));
  }

  /** The timeline of a conversation, if it was ever opened. */
  peek(id: ConversationId): Timeline | undefined {
    return this.#timelines.get(id);
  }

  /** The end of a timeline as it was kept. */
  restore(id: ConversationId, position: Seq, tail: Tail): void {
    this.#timelines.set(id, new Timeline(id, position, this.ask, tail));
  }

  apply(id: ConversationId, entry: Entry): void {
    this.#timelines.get(id)?.apply(entry);
    this.#members.get(id)?.apply(entry);
    this.#pins.get(id)?.apply(entry);
    for (const thread of this.#threads.values()) if (thread.conversation === id) thread.apply(entry);
  }

  /** Somebody is called otherwise, or looks otherwise. */
  rename(profile: Profile): void {
    for (const members of this.#members.values()) members.rename(profile);
  }

  /** Tries again what could not be shown while there was no connection. */
  retry(): void {
    for (const timeline of this.#timelines.values())
      if (timeline.error && timeline.watched) void timeline.open();
  }

  /** What is at hand of a conversation is not the end of it any more. */
  reset(id: ConversationId, position: Seq): void {
    this.#timelines.get(id)?.reset(position);
    this.#members.get(id)?.reset();
    this.#pins.get(id)?.reset();
    for (const thread of this.#threads.values())
      if (thread.conversation === id && thread.watched) thread.reset();
  }

  /** The same of all of them; of those that one is no longer in nothing stays. */
  resetAll(): void {
    for (const id of [...this.#timelines.keys()]) {
      if (this.source.isIn(id)) this.reset(id, this.source.reached(id));
      else this.#timelines.delete(id);
    }
    for (const [id, members] of this.#members) if (!this.#timelines.has(id)) members.reset();
  }

  /** Nothing of a conversation stays. */
  forget(id: ConversationId): void {
    this.#timelines.delete(id);
    this.#members.delete(id);
    this.#pins.delete(id);
    for (const [key, thread] of this.#threads) if (thread.conversation === id) this.#threads.delete(key);
  }

  clear(): void {
    this.#timelines.clear();
    this.#members.clear();
    this.#pins.clear();
    this.#threads.clear();
  }
}

function made<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let found = map.get(key);
  if (found === undefined) {
    found = make();
    map.set(key, found);
  }
  return found;
}
