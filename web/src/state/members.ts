/** The members of one conversation, loaded when somebody looks, then kept by its log. */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type { ConversationId, Entry, MemberView, Profile, Refused, UserId } from "../protocol/types";
import { Observable } from "./observable";

const page = 1_000;
const rank = { owner: 0, admin: 1, member: 2 } as const;

export class Members extends Observable {
  #known = new Map<UserId, MemberView>();
  #list: readonly MemberView[] | undefined;
  #loading: Promise<void> | undefined;
  /** Whether all members are known. */
  complete = false;
  error: Refused | undefined;

  constructor(
    readonly conversation: ConversationId,
    private readonly ask: Pick<Ask, "query">,
    private readonly learned: (members: readonly MemberView[]) => void,
  ) {
    super();
  }

  get loading(): boolean {
    return this.#loading !== undefined;
  }

  /** Owner and admins first, then by name. */
  get list(): readonly MemberView[] {
    this.#list ??= [...this.#known.values()].sort(
      (a, b) => rank[a.role] - rank[b.role] || a.profile.name.localeCompare(b.profile.name),
    );
    return this.#list;
  }

  get(user: UserId): MemberView | undefined {
    return this.#known.get(user);
  }

  /** Loads all members, once; again only after a fresh start. */
  open(): Promise<void> {
    if (this.complete) return Promise.resolve();
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
      this.changed();
    });
    return this.#loading;
  }

  /** The state was replaced: what is known may be old. */
  reset(): void {
    this.complete = false;
    if (this.watched) void this.open();
  }

  apply(entry: Entry): void {
    const event = entry.event;
    if ("left" in event) this.#known.delete(event.left.user);
    else if ("removed" in event) this.#known.delete(event.removed.user);
    else if ("role_changed" in event) {
      const { user, role } = event.role_changed;
      const found = this.#known.get(user);
      if (found) this.#known.set(user, { ...found, role });
    } else if ("joined" in event) {
      if (this.complete || this.#loading) void this.#fetchOne(event.joined.user);
      return;
    } else return;
    this.#moved();
  }

  /** A profile changed. */
  rename(profile: Profile): void {
    const found = this.#known.get(profile.id);
    if (!found) return;
    this.#known.set(profile.id, { ...found, profile });
    this.#moved();
  }

  async #load(): Promise<void> {
    this.error = undefined;
    this.changed();
    const known = new Map<UserId, MemberView>();
    try {
      let after = 0;
      for (;;) {
        const members = await this.#page(after, page);
        for (const member of members) known.set(member.profile.id, member);
        after = members.at(-1)?.profile.id ?? after;
        if (members.length < page) break;
      }
      this.#known = known;
      this.complete = true;
      this.learned([...known.values()]);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.error = error.refused;
    }
    this.#moved();
  }

  async #fetchOne(user: UserId): Promise<void> {
    try {
      const [member] = await this.#page(user - 1, 1);
      if (member?.profile.id !== user) return;
      this.#known.set(user, member);
      this.learned([member]);
      this.#moved();
    } catch {
      // The list is asked for again when it is opened next.
      this.complete = false;
    }
  }

  async #page(after: UserId, limit: number): Promise<MemberView[]> {
    const query = { members: { conversation: this.conversation, after, limit } };
    return expectAnswer(await this.ask.query(query), "members");
  }

  #moved(): void {
    this.#list = undefined;
    this.changed();
  }
}
