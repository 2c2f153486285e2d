/** The pinned messages of one conversation, newest first; asked for again when one is pinned or unpinned. */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type { ConversationId, Entry, Item, Refused } from "../protocol/types";
import { foldItem } from "./fold";
import { Observable } from "./observable";

export class Pins extends Observable {
  items: readonly Item[] = [];
  loaded = false;
  error: Refused | undefined;
  #asked = 0;

  constructor(
    readonly conversation: ConversationId,
    private readonly ask: Pick<Ask, "query">,
  ) {
    super();
  }

  async open(): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const query = { pins: { conversation: this.conversation } };
      const items = expectAnswer(await this.ask.query(query), "items");
      if (asked !== this.#asked) return;
      this.items = items;
      this.loaded = true;
      this.error = undefined;
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (asked === this.#asked) this.error = error.refused;
    }
    this.changed();
  }

  reset(): void {
    this.loaded = false;
    if (this.watched) void this.open();
  }

  apply(entry: Entry): void {
    const event = entry.event;
    if ("pinned" in event || "unpinned" in event || "deleted" in event) {
      this.loaded = false;
      if (this.watched) void this.open();
      return;
    }
    const items = this.items.map((item) => foldItem(item, entry));
    if (items.every((item, at) => item === this.items[at])) return;
    this.items = items;
    this.changed();
  }
}
