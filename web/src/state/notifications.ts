/**
 * Telling somebody who is not looking: the count in the title of every tab, and a notification of the system from
 * the leading tab while no tab is visible.
 */
import type { ConversationId, Entry, UserId } from "../protocol/types";
import type { Conversation, Conversations } from "./conversations";
import { messageOf } from "./fold";
import type { Leader } from "./leader";
import { Observable } from "./observable";
import type { Channel } from "./outbox";
import type { People } from "./people";
import type { Session } from "./session";

export interface NotificationsNeeds {
  session: Session;
  conversations: Conversations;
  people: People;
  leader: Leader;
  channel: Channel | undefined;
  /** A notification was clicked. */
  open(conversation: ConversationId): void;
}

const text_max = 140;

export class Notifications extends Observable {
  #page = "";
  #visibleElsewhere = new Set<string>();
  readonly #tab = Math.random().toString(36).slice(2);
  readonly #stops: (() => void)[];

  constructor(private readonly needs: NotificationsNeeds) {
    super();
    const visibility = () => this.#tell(document.visibilityState === "visible");
    const leaving = () => this.#tell(false);
    document.addEventListener("visibilitychange", visibility);
    window.addEventListener("pagehide", leaving);
    if (needs.channel)
      needs.channel.onmessage = (event) => this.#hear(event.data as { tab: string; visible: boolean });
    this.#stops = [
      needs.conversations.subscribe(() => this.#title()),
      needs.session.subscribe(() => this.#title()),
      () => document.removeEventListener("visibilitychange", visibility),
      () => window.removeEventListener("pagehide", leaving),
    ];
    visibility();
  }

  /** Whether the browser lets us; `unsupported` where it cannot. */
  get permission(): NotificationPermission | "unsupported" {
    return "Notification" in window ? Notification.permission : "unsupported";
  }

  /** Asks the person; call it from a click. */
  async request(): Promise<void> {
    if ("Notification" in window) await Notification.requestPermission();
    this.changed();
  }

  /** What the page is about, shown behind the count. */
  setPage(page: string): void {
    this.#page = page;
    this.#title();
  }

  /** A message has just come, not while catching up. */
  message(conversation: Conversation, entry: Entry): void {
    if (!this.needs.leader.leading || this.permission !== "granted") return;
    if (document.visibilityState === "visible" || this.#visibleElsewhere.size > 0) return;
    const me = this.needs.session.me?.id;
    const body = messageOf({ entry });
    if (me === undefined || !body || !this.wanted(conversation, entry, me)) return;
    const author = this.needs.people.name(entry.by);
    const title =
      conversation.view.kind === "direct" ? author : `${author} in ${conversation.view.name ?? ""}`;
    const note = new Notification(title, {
      body: body.text.slice(0, text_max),
      tag: `chinwag-${conversation.id}`,
    });
    note.onclick = () => {
      window.focus();
      note.close();
      this.needs.open(conversation.id);
    };
  }

  /** Whether one wants to be told of a message. */
  wanted(conversation: Conversation, entry: Entry, me: UserId): boolean {
    const body = messageOf({ entry });
    if (!body || entry.by === me || this.needs.session.isBlocked(entry.by)) return false;
    const mentioned = body.mentions_all === true || body.mentions?.includes(me) === true;
    const direct = conversation.view.kind === "direct";
    switch (this.needs.session.settings.notify ?? "all") {
      case "none":
        return false;
      case "mentions":
        return mentioned || (direct && !conversation.muted());
      default:
        return mentioned || !conversation.muted();
    }
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    this.#tell(false);
    this.needs.channel?.close();
  }

  #title(): void {
    const name = this.needs.session.server?.name || "Chinwag";
    const page = this.#page ? `${this.#page} · ${name}` : name;
    const { messages } = this.needs.conversations.unread;
    const count = messages > 999 ? "999+" : String(messages);
    document.title = messages > 0 ? `(${count}) ${page}` : page;
  }

  #tell(visible: boolean): void {
    this.needs.channel?.postMessage({ tab: this.#tab, visible });
  }

  #hear(note: { tab: string; visible: boolean }): void {
    if (note.visible) this.#visibleElsewhere.add(note.tab);
    else this.#visibleElsewhere.delete(note.tab);
  }
}
