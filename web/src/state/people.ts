/** Profiles by id. Unknown ones are asked for in batches, once, when somebody wants to show them. */
import type { Ask } from "../connection/ask";
import { expectAnswer } from "../connection/ask";
import type { Entry, Profile, UserId } from "../protocol/types";
import { eventOf } from "./fold";
import { Observable } from "./observable";

const at_once_max = 200;

export class People extends Observable {
  readonly #known = new Map<UserId, Profile>();
  readonly #wanted = new Set<UserId>();
  readonly #asked = new Set<UserId>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly ask: Pick<Ask, "query">) {
    super();
  }

  /** The profile if it is known; otherwise it is asked for and the listeners are told when it is there. */
  get(id: UserId): Profile | undefined {
    const known = this.#known.get(id);
    if (!known) this.#want(id);
    return known;
  }

  /** The profile if it is known. */
  peek(id: UserId): Profile | undefined {
    return this.#known.get(id);
  }

  /** The name to show, until it is known the number. */
  name(id: UserId): string {
    return this.get(id)?.name ?? `#${id}`;
  }

  get all(): Profile[] {
    return [...this.#known.values()];
  }

  byHandle(handle: string): Profile | undefined {
    const wanted = fold(handle);
    for (const profile of this.#known.values()) if (fold(profile.handle) === wanted) return profile;
    return undefined;
  }

  learn(profiles: readonly Profile[]): void {
    for (const profile of profiles) {
      this.#known.set(profile.id, profile);
      this.#wanted.delete(profile.id);
    }
    if (profiles.length > 0) this.changed();
  }

  apply(entry: Entry): void {
    const changed = eventOf(entry, "user_changed");
    if (changed) this.learn([changed.profile]);
  }

  clear(): void {
    this.#known.clear();
    this.#wanted.clear();
    this.#asked.clear();
    this.changed();
  }

  /** After a reconnect: what could not be asked is asked again. */
  retry(): void {
    this.#asked.clear();
    if (this.#wanted.size > 0) this.#later();
  }

  #want(id: UserId): void {
    if (this.#asked.has(id) || this.#wanted.has(id)) return;
    this.#wanted.add(id);
    this.#later();
  }

  #later(): void {
    // One question for all that one drawing of the page wants.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#fetch();
    }, 10);
  }

  async #fetch(): Promise<void> {
    const users = [...this.#wanted].filter((id) => !this.#asked.has(id)).slice(0, at_once_max);
    if (users.length === 0) return;
    for (const id of users) this.#asked.add(id);
    try {
      const found = expectAnswer(await this.ask.query({ users: { users } }), "users");
      // Whoever is not in the answer does not exist for us; asking again would not change that.
      for (const id of users) this.#wanted.delete(id);
      this.learn(found);
    } catch {
      // `retry` asks again when the connection is back.
      return;
    }
    if (this.#wanted.size > 0) this.#later();
  }
}

/** Handles are unique without regard to case. */
export function fold(handle: string): string {
  return handle.normalize("NFKC").toLowerCase();
}
