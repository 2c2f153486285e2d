/**
 * What was said in one conversation, as far as it is loaded: windows of entries, folded as they stand now.
 *
 * A window covers every entry `from..=to`; pages may leave entries out that show nothing, so the cover is kept apart
 * from the items. The last window is the live one: it ends at the log's position and grows with each entry, from the
 * moment the timeline exists, so that a page of the end and the entries after it always meet. One window is shown;
 * windows that touch become one.
 *
 * Invariant: a message is folded up to the log's position. A page that was on its way while entries came is folded
 * with those entries before anybody sees it.
 */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type {
  Anchor,
  ConversationId,
  Entry,
  HistoryPage,
  Item,
  Millis,
  Refused,
  Seq,
} from "../protocol/types";
import { foldItem, isShown, targetOf } from "./fold";
import { Observable } from "./observable";

export type Loading = "none" | "latest" | "older" | "newer" | "jump";

interface Window {
  from: Seq;
  to: Seq;
  items: Item[];
}

/** What the cache keeps of a conversation's end. */
export interface Tail {
  from: Seq;
  items: Item[];
}

const page = 80;
/** A live window that nobody watches keeps so many items at most. */
const unwatched_max = 400;
const cached_max = 100;

export class Timeline extends Observable {
  /** Oldest first. */
  #windows: Window[];
  #shown: Window;
  #loading: Loading = "none";
  #inFlight = 0;
  /** Entries since the oldest question in flight. */
  #recent: Entry[] = [];
  readonly #peeked = new Map<Seq, Item | "asked">();
  #generation = 0;
  /** The last entry of the log that has been applied; the live window may reach further by a page that ran ahead. */
  #position: Seq;
  error: Refused | undefined;
  /** The message that was jumped to. */
  focus: Seq | undefined;

  /** `position`: the last entry of the log that has been applied. */
  constructor(
    readonly conversation: ConversationId,
    position: Seq,
    private readonly ask: Pick<Ask, "query">,
    tail?: Tail,
  ) {
    super();
    const live = { from: tail?.from ?? position + 1, to: position, items: tail?.items ?? [] };
    this.#windows = [live];
    this.#shown = live;
    this.#position = position;
  }

  /** What is shown, oldest first. A new array after each change of it. */
  get items(): readonly Item[] {
    return this.#shown.items;
  }

  get loading(): Loading {
    return this.#loading;
  }

  get moreBefore(): boolean {
    return this.#shown.from > 1;
  }

  /** Whether what is shown does not reach the end. */
  get moreAfter(): boolean {
    return this.#shown !== this.#live;
  }

  /** A loaded message, whether shown or not. */
  find(seq: Seq): Item | undefined {
    for (const window of this.#windows) {
      if (seq < window.from || seq > window.to) continue;
      const at = indexOf(window.items, seq);
      if (at !== undefined) return window.items[at];
    }
    const peeked = this.#peeked.get(seq);
    return peeked === "asked" ? undefined : peeked;
  }

  /** A message to show beside another one: asked for if it is not loaded; the listeners are told when it is there. */
  peek(seq: Seq): Item | undefined {
    const found = this.find(seq);
    if (!found && !this.#peeked.has(seq)) {
      this.#peeked.set(seq, "asked");
      void this.#fetchOne(seq);
    }
    return found;
  }

  /** Shows the end, and loads it if there is nothing yet. */
  async open(): Promise<void> {
    this.#show(this.#live);
    if (this.#live.items.length < page / 2 && this.moreBefore) await this.#load("latest", "latest");
  }

  async loadOlder(): Promise<void> {
    if (this.moreBefore) await this.#load("older", { before: this.#shown.from });
  }

  async loadNewer(): Promise<void> {
    if (this.moreAfter) await this.#load("newer", { after: this.#shown.to });
  }

  /** Shows the neighbourhood of a message. */
  async jump(seq: Seq): Promise<void> {
    this.focus = seq;
    const loaded = this.#windows.find((window) => indexOf(window.items, seq) !== undefined);
    if (loaded) this.#show(loaded);
    else await this.#load("jump", { around: seq });
  }

  /** Shows what was said from a time on. */
  async jumpToDate(at: Millis): Promise<void> {
    this.focus = undefined;
    await this.#load("jump", { date: at });
  }

  async toLatest(): Promise<void> {
    this.focus = undefined;
    await this.open();
  }

  clearFocus(): void {
    this.focus = undefined;
    this.changed();
  }

  /** The next entry of the log. */
  apply(entry: Entry): void {
    if (entry.seq <= this.#position) return;
    this.#position = entry.seq;
    if (this.#inFlight > 0) this.#recent.push(entry);
    this.#fold(entry);
    const live = this.#live;
    // A page that ran ahead has brought it already.
    if (entry.seq > live.to) {
      live.to = entry.seq;
      if (isShown(entry)) live.items = [...live.items, { entry }];
    }
    if (!this.watched && live.items.length > unwatched_max) trim(live, unwatched_max / 2);
    this.changed();
  }

  /** The state was replaced and the log goes on from `position`: what was loaded may be old. */
  reset(position: Seq): void {
    this.#generation += 1;
    this.#position = position;
    const live = { from: position + 1, to: position, items: [] };
    this.#windows = [live];
    this.#shown = live;
    this.#recent = [];
    this.#peeked.clear();
    this.#loading = "none";
    this.error = undefined;
    if (this.watched) void this.open();
    this.changed();
  }

  /** The end, for the cache. */
  tail(): Tail {
    const { from, to, items } = this.#live;
    const kept = { from, to, items };
    if (items.length > cached_max) trim(kept, cached_max);
    return { from: kept.from, items: kept.items };
  }

  get #live(): Window {
    const live = this.#windows.at(-1);
    if (!live) throw new Error("a timeline always has its live window");
    return live;
  }

  #show(window: Window): void {
    this.#shown = window;
    this.error = undefined;
    this.changed();
  }

  #fold(entry: Entry): void {
    const target = targetOf(entry);
    if (target === undefined) return;
    for (const window of this.#windows) {
      const at = indexOf(window.items, target);
      const item = at === undefined ? undefined : window.items[at];
      if (at === undefined || !item) continue;
      window.items = window.items.with(at, foldItem(item, entry));
    }
    const peeked = this.#peeked.get(target);
    if (peeked && peeked !== "asked") this.#peeked.set(target, foldItem(peeked, entry));
  }

  async #load(loading: Exclude<Loading, "none">, anchor: Anchor): Promise<void> {
    if (this.#loading !== "none" && loading !== "jump") return;
    const generation = this.#generation;
    this.#loading = loading;
    this.error = undefined;
    this.changed();
    try {
      let next: Anchor | undefined = anchor;
      // A page full of reactions shows nothing: go on until there is something to see.
      for (let shown = 0; next !== undefined && shown < page / 4; ) {
        const { found, known }: { found: HistoryPage; known: Seq } = await this.#page(next, page);
        if (generation !== this.#generation) return;
        const added = cover(found, next, known);
        added.items = added.items.filter((item) => isShown(item.entry));
        shown += added.items.length;
        const window = this.#add(added);
        // A jump that was overtaken by another move of the reader does not pull him back.
        if (this.#loading === loading) this.#shown = window;
        if (loading === "newer") next = found.more_after ? { after: added.to } : undefined;
        else next = loading !== "jump" && found.more_before ? { before: added.from } : undefined;
      }
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (generation === this.#generation) this.error = error.refused;
    } finally {
      if (generation === this.#generation) {
        if (this.#loading === loading) this.#loading = "none";
        this.changed();
      }
    }
  }

  async #fetchOne(seq: Seq): Promise<void> {
    const generation = this.#generation;
    try {
      const { found } = await this.#page({ around: seq }, 1);
      if (generation !== this.#generation) return;
      const item = found.items.find((one) => one.entry.seq === seq);
      if (!item) return;
      this.#peeked.set(seq, item);
      this.changed();
    } catch {
      // Asked again the next time it is wanted.
      if (generation === this.#generation) this.#peeked.delete(seq);
    }
  }

  /** A page, folded with what came meanwhile; `known` is the log's position when it was asked for. */
  async #page(anchor: Anchor, limit: number): Promise<{ found: HistoryPage; known: Seq }> {
    const known = this.#position;
    this.#inFlight += 1;
    try {
      const query = { history: { conversation: this.conversation, anchor, limit } };
      const found = expectAnswer(await this.ask.query(query), "history");
      const items = found.items.map((item) => this.#recent.reduce(foldItem, item));
      return { found: { ...found, items }, known };
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#recent = [];
    }
  }

  /** Takes a window in; returns the one that it is part of now. */
  #add(added: Window): Window {
    const apart: Window[] = [];
    let whole = added;
    let shownIsPart = false;
    for (const window of this.#windows) {
      const touches = window.from <= whole.to + 1 && whole.from <= window.to + 1;
      if (!touches) {
        apart.push(window);
        continue;
      }
      if (window === this.#shown) shownIsPart = true;
      whole = merge(window, whole);
    }
    this.#windows = [...apart, whole].sort((a, b) => a.to - b.to || a.from - b.from);
    if (shownIsPart) this.#shown = whole;
    return whole;
  }
}

/** What a page covers. */
function cover(found: HistoryPage, anchor: Anchor, known: Seq): Window {
  const { items, more_before, more_after } = found;
  const first = items.at(0)?.entry.seq;
  const last = items.at(-1)?.entry.seq;
  let from = first ?? known + 1;
  let to = last ?? known;
  if (typeof anchor === "object" && "before" in anchor) to = anchor.before - 1;
  if (typeof anchor === "object" && "after" in anchor) from = anchor.after + 1;
  // The server knew at least what we knew when we asked.
  if (!more_after && !(typeof anchor === "object" && "before" in anchor)) to = Math.max(to, known);
  if (!more_before && !(typeof anchor === "object" && "after" in anchor)) from = 1;
  return { from: Math.min(from, first ?? from), to: Math.max(to, last ?? to), items };
}

/** Two windows that touch, as one. Where both have an item, the one that was folded further stays. */
function merge(a: Window, b: Window): Window {
  const items = new Map<Seq, Item>();
  for (const item of [...a.items, ...b.items]) {
    const other = items.get(item.entry.seq);
    if (!other || (item.state?.changed ?? 0) > (other.state?.changed ?? 0)) items.set(item.entry.seq, item);
  }
  return {
    from: Math.min(a.from, b.from),
    to: Math.max(a.to, b.to),
    items: [...items.values()].sort((x, y) => x.entry.seq - y.entry.seq),
  };
}

/** Keeps the newest `count` items. */
function trim(window: Window, count: number): void {
  const kept = window.items.slice(-count);
  window.from = kept[0]?.entry.seq ?? window.from;
  window.items = kept;
}

/** Where an entry stands, by halving: items are sorted and may have holes. */
function indexOf(items: readonly Item[], seq: Seq): number | undefined {
  let low = 0;
  let high = items.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const at = items[middle]?.entry.seq ?? 0;
    if (at === seq) return middle;
    if (at < seq) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}
