/** One thread beside the timeline: its first message and the replies, kept by the log. */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type { ConversationId, Entry, Item, Refused, Seq } from "../protocol/types";
import { foldItem, messageOf } from "./fold";
import { Observable } from "./observable";

const page = 200;

export class Thread extends Observable {
  items: readonly Item[] = [];
  loading = false;
  error: Refused | undefined;
  /** Entries since the question in flight. */
  #recent: Entry[] = [];

  constructor(
    readonly conversation: ConversationId,
    readonly root: Seq,
    private readonly ask: Pick<Ask, "query">,
  ) {
    super();
  }

  async open(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    this.error = undefined;
    this.#recent = [];
    this.changed();
    try {
      const items: Item[] = [];
      for (let after = 0, more = true; more; after = items.at(-1)?.entry.seq ?? after) {
        const query = { conversation: this.conversation, root: this.root, after, limit: page };
        const found = expectAnswer(await this.ask.query({ thread: query }), "history");
        // Every page begins with the first message.
        items.push(...(items.length === 0 ? found.items : found.items.slice(1)));
        more = found.more_after && found.items.length > 1;
      }
      this.items = items;
      for (const entry of this.#recent) this.#take(entry);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.error = error.refused;
    } finally {
      this.loading = false;
      this.#recent = [];
      this.changed();
    }
  }

  reset(): void {
    void this.open();
  }

  apply(entry: Entry): void {
    if (this.loading) this.#recent.push(entry);
    const before = this.items;
    this.#take(entry);
    if (this.items !== before) this.changed();
  }

  #take(entry: Entry): void {
    if (this.items.length === 0) return;
    if (
      messageOf({ entry })?.thread === this.root &&
      !this.items.some((item) => item.entry.seq === entry.seq)
    ) {
      this.items = [...this.items, { entry }];
    }
    const items = this.items.map((item) => foldItem(item, entry));
    if (items.some((item, at) => item !== this.items[at])) this.items = items;
  }
}
