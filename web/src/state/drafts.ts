/** What was written and not sent, per conversation and thread. On disk a moment after the last key. */
import type { ConversationId, Seq } from "../protocol/types";
import type { Disk, Draft } from "./database";
import { Observable } from "./observable";

const delay_ms = 300;

export class Drafts extends Observable {
  readonly #all = new Map<string, Draft>();
  readonly #dirty = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly disk: Disk | undefined) {
    super();
  }

  async load(): Promise<void> {
    try {
      for (const draft of (await this.disk?.use((database) => database.getAll("drafts"))) ?? []) {
        // What was typed while this loaded is newer.
        if (!this.#all.has(draft.key)) this.#all.set(draft.key, draft);
      }
      this.changed();
    } catch {
      // Without a database drafts live as long as the page.
    }
  }

  get(conversation: ConversationId, thread?: Seq): Omit<Draft, "key"> | undefined {
    return this.#all.get(keyOf(conversation, thread));
  }

  /** An empty text without a reply is no draft. */
  set(conversation: ConversationId, draft: Omit<Draft, "key">, thread?: Seq): void {
    const key = keyOf(conversation, thread);
    const before = this.#all.get(key);
    if (draft.text === "" && draft.reply_to === undefined) {
      if (!before) return;
      this.#all.delete(key);
    } else {
      if (before?.text === draft.text && before.reply_to === draft.reply_to) return;
      this.#all.set(key, { key, ...draft });
    }
    this.#dirty.add(key);
    // What has just been sent must not be a draft again after a reload.
    if (draft.text === "") void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), delay_ms);
    this.changed();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#all.clear();
    this.#dirty.clear();
    this.changed();
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const keys = [...this.#dirty];
    this.#dirty.clear();
    if (keys.length === 0) return;
    try {
      await this.disk?.use(async (database) => {
        const change = database.transaction("drafts", "readwrite");
        const work = keys.map((key) => {
          const draft = this.#all.get(key);
          return draft ? change.store.put(draft) : change.store.delete(key);
        });
        // A page that goes away takes what is not committed with it.
        change.commit();
        await Promise.all([...work, change.done]);
      });
    } catch {
      // As above.
    }
  }
}

function keyOf(conversation: ConversationId, thread?: Seq): string {
  return thread === undefined ? `${conversation}` : `${conversation}/${thread}`;
}
