/** Everything that can be watched. Each is an `Observable`: `subscribe(listener)`, then read again. */
import type { Conversations } from "./conversations";
import type { Drafts } from "./drafts";
import type { Leader } from "./leader";
import type { Notifications } from "./notifications";
import type { Outbox } from "./outbox";
import type { People } from "./people";
import type { Presence } from "./presence";
import type { Receipts } from "./receipts";
import type { Session } from "./session";
import type { Typing } from "./typing";

export interface State {
  readonly session: Session;
  readonly conversations: Conversations;
  readonly people: People;
  readonly presence: Presence;
  readonly typing: Typing;
  readonly receipts: Receipts;
  readonly outbox: Outbox;
  readonly drafts: Drafts;
  readonly notifications: Notifications;
  readonly leader: Leader;
}
