/**
 * Messages on their way: written down before they are sent, and kept until the server has them.
 *
 * Exactly once: a message keeps its `client_id` over every attempt, reload and tab, and the server answers the same
 * id with the same place. One tab, the leader, sends; the others write into the database and tell it. In one
 * conversation messages are sent one after the other, so that the order of writing is the order of the log.
 *
 * A refusal that can pass (`unavailable`, `too_many`, `storage_full`, `not_signed_in`) is waited out; any other is
 * final for this `client_id`, and shown with the message, for the writer to discard or to try as a new one.
 */
import { type Ask, RefusedError } from "../connection/ask";
import type { ConversationId, Entry, Posted, Refused, Seq, UserId } from "../protocol/types";
import type { Database, Disk, Outgoing } from "./database";
import { messageOf } from "./fold";
import type { Leader } from "./leader";
import { Observable } from "./observable";

/** `sent`: the server has it, and its entry is about to arrive. */
export type OutgoingState = "waiting" | "sending" | "sent" | "failed";

export interface Pending extends Outgoing {
  state: OutgoingState;
  seq?: Seq;
}

type Note =
  | { added: Outgoing }
  | { posted: { client_id: string; posted: Posted } }
  | { failed: { client_id: string; refused: Refused } }
  | { retry: string }
  | { retried: { client_id: string; as: string } }
  | { discard: string }
  | { discarded: string };

export interface Channel {
  postMessage(note: unknown): void;
  onmessage: ((event: MessageEvent) => void) | null;
  close(): void;
}

export interface OutboxNeeds {
  disk: Disk | undefined;
  channel: Channel | undefined;
  leader: Leader;
  ask: Pick<Ask, "command">;
  me(): UserId | undefined;
  /** How far a conversation's log has been applied. */
  position(conversation: ConversationId): Seq;
}

const retry_ms = 2_000;

export class Outbox extends Observable {
  readonly #all = new Map<string, Pending>();
  readonly #byConversation = new Map<ConversationId, readonly Pending[]>();
  /** Conversations with a message being sent. */
  readonly #busy = new Set<ConversationId>();
  /** Messages that are not on disk yet. */
  readonly #saving = new Set<string>();
  readonly #stopWatching: () => void;
  #connected = false;
  #stopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly needs: OutboxNeeds) {
    super();
    if (needs.channel) needs.channel.onmessage = (event) => this.#hear(event.data as Note);
    this.#stopWatching = needs.leader.subscribe(() => void this.load());
  }

  /** What is on its way to a conversation, in the order of writing. The same array until it changes. */
  pending(conversation: ConversationId): readonly Pending[] {
    let found = this.#byConversation.get(conversation);
    if (!found) {
      found = [...this.#all.values()].filter((one) => one.conversation === conversation);
      this.#byConversation.set(conversation, found);
    }
    return found;
  }

  /** Messages that the server does not have yet. */
  get size(): number {
    let size = 0;
    for (const one of this.#all.values()) if (one.state !== "sent") size += 1;
    return size;
  }

  /** Reads what former pages and other tabs have written down. */
  async load(): Promise<void> {
    const me = this.needs.me();
    if (!this.needs.disk || me === undefined) return;
    const found = await this.needs.disk.use((database) => database.getAll("outbox")).catch(() => []);
    if (this.needs.me() !== me) return;
    const mine = found.filter((one) => one.user === me && !this.#all.has(one.client_id));
    for (const one of mine)
      this.#all.set(one.client_id, { ...one, state: one.failed ? "failed" : "waiting" });
    this.#sort();
    this.#moved();
    this.#pump();
  }

  /** Takes a message; it is shown at once, and on disk when this resolves. */
  async add(message: Omit<Outgoing, "order" | "failed">): Promise<void> {
    const pending: Pending = { ...message, state: "waiting" };
    // Until it is on disk it must not be sent: a page that dies in between would send it a second time by hand.
    this.#saving.add(message.client_id);
    this.#all.set(message.client_id, pending);
    this.#moved();
    try {
      const order = await this.needs.disk?.use(async (database) => {
        const change = database.transaction("outbox", "readwrite");
        const added = change.store.add(message);
        // A page that goes away takes what is not committed with it.
        change.commit();
        const [key] = await Promise.all([added, change.done]);
        return key;
      });
      if (order !== undefined) this.#update(message.client_id, { order });
    } catch {
      // No room, or no database: it is sent all the same, and lost only if the page goes before that.
    } finally {
      this.#saving.delete(message.client_id);
    }
    this.#tell({ added: message });
    this.#pump();
  }

  /** Tries a failed message again, under a new id: the old one is refused for ever. */
  async retry(client_id: string): Promise<void> {
    if (this.needs.leader.leading) await this.#retry(client_id);
    else this.#tell({ retry: client_id });
  }

  /** Throws away a message that failed or still waits. */
  async discard(client_id: string): Promise<void> {
    if (this.needs.leader.leading) await this.#discard(client_id);
    else this.#tell({ discard: client_id });
  }

  connected(): void {
    this.#connected = true;
    this.#soon();
    this.#pump();
  }

  disconnected(): void {
    this.#connected = false;
    this.#soon();
  }

  /** An entry of oneself has arrived: its message is no longer on its way. */
  recorded(entry: Entry): void {
    if (entry.client_id === undefined || !messageOf({ entry })) return;
    if (!this.#all.delete(entry.client_id)) return;
    this.#moved();
    if (this.needs.leader.leading) void this.#forget(entry.client_id);
  }

  /** Somebody else signed in, or nobody is: nothing of it may be sent. */
  clear(): void {
    this.#all.clear();
    this.#connected = false;
    this.#moved();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stopWatching();
    this.needs.channel?.close();
  }

  #pump(): void {
    if (this.#stopped || !this.#connected || !this.needs.leader.leading || this.needs.me() === undefined)
      return;
    const blocked = new Set(this.#busy);
    for (const one of [...this.#all.values()]) {
      if (one.state !== "waiting" || blocked.has(one.conversation)) continue;
      // Whether it is sent now or is still being saved: what was written later waits.
      blocked.add(one.conversation);
      if (!this.#saving.has(one.client_id)) void this.#send(one);
    }
  }

  async #send(one: Pending): Promise<void> {
    this.#busy.add(one.conversation);
    this.#update(one.client_id, { state: "sending" });
    try {
      const { conversation, client_id, text, attachments, reply_to, thread } = one;
      const reply = await this.needs.ask.command({
        post: {
          conversation,
          client_id,
          text,
          ...(attachments ? { attachments: attachments.map(({ file, name }) => ({ file, name })) } : {}),
          ...(reply_to === undefined ? {} : { reply_to }),
          ...(thread === undefined ? {} : { thread }),
        },
      });
      if ("posted" in reply) await this.#posted(client_id, reply.posted);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      await this.#refused(one.client_id, error.refused);
    } finally {
      this.#busy.delete(one.conversation);
    }
    if (!this.#timer) this.#pump();
  }

  async #posted(client_id: string, posted: Posted): Promise<void> {
    this.#settle(client_id, posted);
    this.#tell({ posted: { client_id, posted } });
    await this.#forget(client_id);
  }

  #settle(client_id: string, posted: Posted): void {
    // The entry may have come before the answer.
    if (this.needs.position(posted.conversation) >= posted.seq) {
      if (this.#all.delete(client_id)) this.#moved();
    } else this.#update(client_id, { state: "sent", seq: posted.seq });
  }

  async #refused(client_id: string, refused: Refused): Promise<void> {
    const passes = ["unavailable", "too_many", "storage_full", "not_signed_in"].includes(refused.kind);
    if (passes) {
      this.#update(client_id, { state: "waiting" });
      // Without a connection it is the next connection that is waited for.
      if (this.#connected) this.#later(refused.retry_after_ms ?? retry_ms);
      return;
    }
    this.#update(client_id, { state: "failed", failed: refused });
    this.#tell({ failed: { client_id, refused } });
    await this.#store(client_id);
  }

  /** Nothing is waited out any more. */
  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #later(wait_ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, wait_ms);
  }

  async #retry(client_id: string): Promise<void> {
    if (this.#all.get(client_id)?.state !== "failed") return;
    const as = newClientId();
    // On disk before it is sent, as any new message.
    this.#saving.add(as);
    this.#renew(client_id, as);
    this.#tell({ retried: { client_id, as } });
    await this.#store(as, client_id);
    this.#saving.delete(as);
    this.#pump();
  }

  async #discard(client_id: string): Promise<void> {
    const state = this.#all.get(client_id)?.state;
    if (state !== "failed" && state !== "waiting") return;
    this.#all.delete(client_id);
    this.#moved();
    this.#tell({ discarded: client_id });
    await this.#forget(client_id);
  }

  /** The same message in the same place, as a new one. */
  #renew(client_id: string, as: string): void {
    const all = [...this.#all];
    this.#all.clear();
    for (const [id, one] of all) {
      const { failed: _, ...rest } = one;
      if (id === client_id) this.#all.set(as, { ...rest, client_id: as, state: "waiting" });
      else this.#all.set(id, one);
    }
    this.#moved();
  }

  /** What another tab tells. */
  #hear(note: Note): void {
    if ("added" in note) {
      if (note.added.user !== this.needs.me() || this.#all.has(note.added.client_id)) return;
      this.#all.set(note.added.client_id, { ...note.added, state: "waiting" });
      this.#moved();
      this.#pump();
    } else if ("posted" in note) this.#settle(note.posted.client_id, note.posted.posted);
    else if ("failed" in note)
      this.#update(note.failed.client_id, { state: "failed", failed: note.failed.refused });
    else if ("retried" in note) this.#renew(note.retried.client_id, note.retried.as);
    else if ("discarded" in note) {
      if (this.#all.delete(note.discarded)) this.#moved();
    } else if (this.needs.leader.leading) {
      if ("retry" in note) void this.#retry(note.retry);
      else void this.#discard(note.discard);
    }
  }

  #tell(note: Note): void {
    if (!this.#stopped) this.needs.channel?.postMessage(note);
  }

  #update(client_id: string, change: Partial<Pending>): void {
    const found = this.#all.get(client_id);
    if (!found) return;
    this.#all.set(client_id, { ...found, ...change });
    this.#moved();
  }

  /** Writes down how a message stands, which may have been kept under another id. */
  async #store(client_id: string, kept_as = client_id): Promise<void> {
    const found = this.#all.get(client_id);
    if (!found) return;
    const { state: _state, seq: _seq, order: _order, ...outgoing } = found;
    await this.#write(kept_as, outgoing);
  }

  async #forget(client_id: string): Promise<void> {
    await this.#write(client_id, undefined);
  }

  /** Puts a message that is on disk, or takes it away. What fails only means that it is sent again, which is harmless. */
  async #write(client_id: string, outgoing: Outgoing | undefined): Promise<void> {
    const write = async (database: Database) => {
      const change = database.transaction("outbox", "readwrite");
      change.done.catch(() => undefined);
      const order = await change.store.index("client_id").getKey(client_id);
      if (order !== undefined)
        await (outgoing ? change.store.put({ ...outgoing, order }) : change.store.delete(order));
      await change.done;
    };
    await this.needs.disk?.use(write).catch(() => undefined);
  }

  #sort(): void {
    const last = Number.POSITIVE_INFINITY;
    const sorted = [...this.#all].sort((a, b) => (a[1].order ?? last) - (b[1].order ?? last));
    this.#all.clear();
    for (const [client_id, one] of sorted) this.#all.set(client_id, one);
  }

  #moved(): void {
    this.#byConversation.clear();
    this.changed();
  }
}

/** Chosen here and never again: 16 random bytes. Works without a secure context, where `randomUUID` is missing. */
export function newClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
