/** Who is writing where. Ends by itself after six seconds, or with the message that was being written. */
import type { Ask } from "../connection/ask";
import type { ConversationId, UserId } from "../protocol/types";
import { Observable } from "./observable";

const lasts_ms = 6_000;
/** Own typing is told again while it goes on, a little before the others would forget it. */
const repeat_ms = 4_000;

export class Typing extends Observable {
  readonly #until = new Map<ConversationId, Map<UserId, number>>();
  readonly #told = new Map<ConversationId, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: Pick<Ask, "signal">,
    private readonly now: () => number = Date.now,
  ) {
    super();
  }

  /** Who is writing, first come first. */
  in(conversation: ConversationId): UserId[] {
    const now = this.now();
    const found = this.#until.get(conversation);
    return found ? [...found].filter(([, until]) => until > now).map(([user]) => user) : [];
  }

  apply(conversation: ConversationId, user: UserId): void {
    let users = this.#until.get(conversation);
    if (!users) {
      users = new Map();
      this.#until.set(conversation, users);
    }
    users.set(user, this.now() + lasts_ms);
    this.#schedule();
    this.changed();
  }

  /** Whoever has sent is no longer writing. */
  stopped(conversation: ConversationId, user: UserId): void {
    if (this.#until.get(conversation)?.delete(user)) this.changed();
  }

  /** Called for every key pressed in a composer; tells the others at most every four seconds. */
  tell(conversation: ConversationId): void {
    const now = this.now();
    if (now - (this.#told.get(conversation) ?? Number.NEGATIVE_INFINITY) < repeat_ms) return;
    this.#told.set(conversation, now);
    this.ask.signal({ typing: { conversation } });
  }

  /** The text was sent or thrown away: the next key is told at once. */
  ended(conversation: ConversationId): void {
    this.#told.delete(conversation);
  }

  clear(): void {
    this.#until.clear();
    this.changed();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const now = this.now();
      let left = 0;
      for (const users of this.#until.values()) {
        for (const [user, until] of users) if (until <= now) users.delete(user);
        left += users.size;
      }
      if (left > 0) this.#schedule();
      this.changed();
    }, 1_000);
  }
}
