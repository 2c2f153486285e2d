/**
 * Who is there. A connection hears only of those it names, so whoever is shown is watched: every view that draws a
 * presence holds a watch, and the union of them goes to the server.
 */
import type { Ask } from "../connection/ask";
import type { PresenceOf, Presence as State, UserId } from "../protocol/types";
import { Observable } from "./observable";

const watch_max = 500;

export class Presence extends Observable {
  readonly #known = new Map<UserId, PresenceOf>();
  readonly #watched = new Map<UserId, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sent = "";

  constructor(private readonly ask: Pick<Ask, "signal">) {
    super();
  }

  of(user: UserId): State {
    return this.#known.get(user)?.presence ?? "offline";
  }

  /** When somebody who is not there was last there. */
  seenAt(user: UserId): number | undefined {
    return this.#known.get(user)?.seen_at;
  }

  /** Wants to hear of these users until the returned function is called. */
  watch(users: readonly UserId[]): () => void {
    for (const user of users) this.#watched.set(user, (this.#watched.get(user) ?? 0) + 1);
    this.#later();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      for (const user of users) {
        const count = (this.#watched.get(user) ?? 1) - 1;
        if (count > 0) this.#watched.set(user, count);
        else this.#watched.delete(user);
      }
      this.#later();
    };
  }

  apply(changes: readonly PresenceOf[]): void {
    for (const change of changes) this.#known.set(change.user, change);
    this.changed();
  }

  /** A new connection knows of no watch. */
  connected(): void {
    this.#sent = "";
    this.#send();
  }

  /** Without a connection nobody's presence is known. */
  disconnected(): void {
    this.#known.clear();
    this.changed();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#send();
    }, 100);
  }

  #send(): void {
    const users = [...this.#watched.keys()].slice(0, watch_max).sort((a, b) => a - b);
    const key = users.join();
    if (key === this.#sent) return;
    this.#sent = key;
    this.ask.signal({ watch: { users } });
  }
}
