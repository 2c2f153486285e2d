/**
 * What a reload shows at once: the state as of the positions that `hello.resume` will name.
 *
 * Invariant: a position is written in the same transaction as what it covers, and read in one with it. Only the
 * leading tab writes, so that no slower tab puts an older part beside a newer one; whoever becomes the leader writes
 * everything once.
 */
import type { ConversationId, Profile, UserId } from "../protocol/types";
import { type Database, type Disk, type Kept, type KeptConversation, kept_version } from "./database";
import type { Leader } from "./leader";

export interface Everything {
  kept: Kept;
  conversations: KeptConversation[];
  people: Profile[];
}

/** What the cache asks for when it writes; `undefined`: there is nothing to keep. */
export interface CacheSource {
  kept(): Omit<Kept, "version"> | undefined;
  conversation(id: ConversationId): KeptConversation | undefined;
  conversations(): ConversationId[];
  person(id: UserId): Profile | undefined;
  people(): Profile[];
}

const delay_ms = 400;

export class Cache {
  readonly #conversations = new Set<ConversationId>();
  readonly #people = new Set<UserId>();
  #all = true;
  #dirty = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> = Promise.resolve();
  readonly #stopWatching: () => void;

  constructor(
    private readonly disk: Disk | undefined,
    private readonly leader: Leader,
    private readonly source: CacheSource,
  ) {
    this.#stopWatching = leader.subscribe(() => this.everything());
  }

  /** What was kept by this version of the app, if anything. */
  async load(): Promise<Everything | undefined> {
    try {
      const found = await this.disk?.use(async (database) => {
        const read = database.transaction(["kept", "conversations", "people"], "readonly");
        read.done.catch(() => undefined);
        const all = await Promise.all([
          read.objectStore("kept").get("kept"),
          read.objectStore("conversations").getAll(),
          read.objectStore("people").getAll(),
        ]);
        await read.done;
        return all;
      });
      if (!found) return undefined;
      const [kept, conversations, people] = found;
      return kept?.version === kept_version ? { kept, conversations, people } : undefined;
    } catch {
      // A cache that cannot be read is no cache.
      return undefined;
    }
  }

  /** Everything is to be written anew, and soon: until then a page that closes leaves nothing to begin with. */
  everything(): void {
    this.#all = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#later(0);
  }

  conversation(id: ConversationId): void {
    this.#conversations.add(id);
    this.#later();
  }

  person(id: UserId): void {
    this.#people.add(id);
    this.#later();
  }

  /** Only positions moved. */
  touch(): void {
    this.#later();
  }

  /** Writes what is to be written, now. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing
      .then(() => this.#write())
      .catch(() => {
        // No room, perhaps. What is kept is older and whole; the next change writes everything.
        this.#all = true;
      });
    return this.#writing;
  }

  /** Forgets what is to be written; what is being written is waited for. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dirty = false;
    this.#all = true;
    await this.#writing;
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.#stopWatching();
  }

  #later(after_ms = delay_ms): void {
    this.#dirty = true;
    this.#timer ??= setTimeout(() => void this.flush(), after_ms);
  }

  async #write(): Promise<void> {
    if (!this.disk || !this.#dirty || !this.leader.leading) return;
    // Everything is gathered without a pause, so it is of one moment.
    const kept = this.source.kept();
    if (!kept) return;
    const all = this.#all;
    const ids = all ? this.source.conversations() : [...this.#conversations];
    const conversations = ids.map((id) => [id, this.source.conversation(id)] as const);
    const people = all
      ? this.source.people()
      : [...this.#people].flatMap((id) => this.source.person(id) ?? []);
    this.#all = false;
    this.#dirty = false;
    this.#conversations.clear();
    this.#people.clear();

    await this.disk.use((database) =>
      write(database, all, { ...kept, version: kept_version }, conversations, people),
    );
  }
}

/** One transaction: all of it is there afterwards, or nothing. */
async function write(
  database: Database,
  all: boolean,
  kept: Kept,
  conversations: (readonly [ConversationId, KeptConversation | undefined])[],
  people: Profile[],
): Promise<void> {
  const change = database.transaction(["kept", "conversations", "people"], "readwrite");
  const stored = change.objectStore("conversations");
  const work: Promise<unknown>[] = [];
  if (all) work.push(stored.clear(), change.objectStore("people").clear());
  work.push(change.objectStore("kept").put(kept, "kept"));
  for (const [id, conversation] of conversations)
    work.push(conversation ? stored.put(conversation) : stored.delete(id));
  for (const profile of people) work.push(change.objectStore("people").put(profile));
  // A page that goes away takes what is not committed with it.
  change.commit();
  await Promise.all([...work, change.done]);
}
