/** Who one is here: profile, settings, contacts, and whether one is signed in at all. */
import type {
  Entry,
  Millis,
  Profile,
  Refused,
  ServerInfo,
  SessionId,
  Settings,
  Snapshot,
  UserId,
} from "../protocol/types";
import { Observable } from "./observable";

/** `starting`: not known yet; show nothing but a calm page. */
export type Phase = "starting" | "signed_out" | "signed_in";
export type Link = "offline" | "connecting" | "catching_up" | "online";

const change_password = "chinwag.change-password";

export class Session extends Observable {
  phase: Phase = "starting";
  me: Profile | undefined;
  session: SessionId | undefined;
  settings: Settings = { theme: "system" };
  contacts: readonly UserId[] = [];
  blocked: readonly UserId[] = [];
  server: ServerInfo | undefined;

  /** The password came with the account from another system. Said at sign-in alone, so this browser remembers. */
  changePassword = localStorage.getItem(change_password) !== null;

  /** How the connection is. */
  link: Link = "connecting";
  /** When the next attempt to connect is made, by this machine's clock; only while `offline`. */
  retryAt: Millis | undefined;
  /** Why the server ended the session or keeps one out. */
  ended: Refused | undefined;

  setPhase(phase: Phase, ended?: Refused): void {
    this.phase = phase;
    this.ended = ended;
    this.changed();
  }

  setServer(server: ServerInfo): void {
    this.server = server;
    this.changed();
  }

  setChangePassword(should: boolean): void {
    if (should) localStorage.setItem(change_password, "1");
    else localStorage.removeItem(change_password);
    this.changePassword = should;
    this.changed();
  }

  setLink(link: Link, retryAt?: Millis): void {
    if (this.link === link && this.retryAt === retryAt) return;
    this.link = link;
    this.retryAt = retryAt;
    this.changed();
  }

  load(snapshot: Pick<Snapshot, "me" | "session" | "settings" | "contacts" | "blocked">): void {
    this.me = snapshot.me;
    this.session = snapshot.session;
    this.settings = snapshot.settings;
    this.contacts = snapshot.contacts;
    this.blocked = snapshot.blocked;
    this.changed();
  }

  clear(): void {
    this.me = undefined;
    this.session = undefined;
    this.settings = { theme: "system" };
    this.contacts = [];
    this.blocked = [];
    this.setChangePassword(false);
  }

  isContact(user: UserId): boolean {
    return this.contacts.includes(user);
  }

  isBlocked(user: UserId): boolean {
    return this.blocked.includes(user);
  }

  /** Entries of one's own log and of the directory. */
  apply(entry: Entry): void {
    const event = entry.event;
    if ("contact_added" in event) this.contacts = added(this.contacts, event.contact_added.user);
    else if ("contact_removed" in event) this.contacts = removed(this.contacts, event.contact_removed.user);
    else if ("blocked" in event) {
      this.blocked = added(this.blocked, event.blocked.user);
      this.contacts = removed(this.contacts, event.blocked.user);
    } else if ("unblocked" in event) this.blocked = removed(this.blocked, event.unblocked.user);
    else if ("settings_changed" in event) this.settings = event.settings_changed.settings;
    else if ("user_changed" in event && event.user_changed.profile.id === this.me?.id)
      this.me = event.user_changed.profile;
    else return;
    this.changed();
  }
}

function added(users: readonly UserId[], user: UserId): readonly UserId[] {
  return users.includes(user) ? users : [...users, user];
}

function removed(users: readonly UserId[], user: UserId): readonly UserId[] {
  return users.filter((one) => one !== user);
}
