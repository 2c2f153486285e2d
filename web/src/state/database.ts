/** What this browser keeps between visits, and in one place so that it can be thrown away in one go. */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type {
  Attachment,
  ConversationId,
  ConversationView,
  LogId,
  Profile,
  Refused,
  Seq,
  Snapshot,
  UserId,
} from "../protocol/types";
import type { Tail } from "./timeline";

/** Everything about oneself, with the places in the logs that it and the profiles stand for. */
export interface Kept extends Pick<Snapshot, "me" | "session" | "settings" | "contacts" | "blocked"> {
  /** Written by this version of the app's schema; another one is thrown away. */
  version: number;
  epoch: string;
  positions: [LogId, Seq][];
}

/** One conversation as of `position`. */
export interface KeptConversation {
  id: ConversationId;
  position: Seq;
  view: ConversationView;
  tail?: Tail;
}

/** A message that is to be sent. */
export interface Outgoing {
  /** The order of writing, over all tabs. */
  order?: number;
  client_id: string;
  user: UserId;
  conversation: ConversationId;
  text: string;
  /** Files that the server has already. */
  attachments?: Attachment[];
  reply_to?: Seq;
  thread?: Seq;
  written_at: number;
  /** Why the server will not have it. */
  failed?: Refused;
}

export interface Draft {
  key: string;
  text: string;
  reply_to?: Seq;
}

export interface Schema extends DBSchema {
  kept: { key: string; value: Kept };
  conversations: { key: number; value: KeptConversation };
  people: { key: number; value: Profile };
  outbox: { key: number; value: Outgoing; indexes: { client_id: string } };
  drafts: { key: string; value: Draft };
}

export type Database = IDBPDatabase<Schema>;

/** Raise it whenever what is kept changes its shape: the cache is rebuilt, the outbox and the drafts stay. */
export const kept_version = 1;

const schema_version = 1;

/** Opens the database; `gone` is told when the browser has taken it away. */
export function openDatabase(name = "chinwag", gone: () => void = () => {}): Promise<Database> {
  return openDB<Schema>(name, schema_version, {
    upgrade(database) {
      database.createObjectStore("kept");
      database.createObjectStore("conversations", { keyPath: "id" });
      database.createObjectStore("people", { keyPath: "id" });
      const outbox = database.createObjectStore("outbox", { keyPath: "order", autoIncrement: true });
      outbox.createIndex("client_id", "client_id", { unique: true });
      database.createObjectStore("drafts", { keyPath: "key" });
    },
    // Another tab deletes the database or has a newer schema: make way.
    blocking(_current, _blocked, event) {
      (event.target as IDBDatabase).close();
      gone();
    },
    terminated: gone,
  });
}

const patience_ms = 2_000;

/**
 * The database as the rest of the app sees it: opened when first wanted, and again when the browser has taken it
 * away, as it does when the server says `Clear-Site-Data` at the end of a session.
 */
export class Disk {
  #open: Promise<Database> | undefined;

  constructor(private readonly name = "chinwag") {}

  /** Does some work, and does it once more if the database was taken away under it. */
  async use<T>(work: (database: Database) => Promise<T>): Promise<T> {
    const database = await this.#get();
    try {
      return await work(database);
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
      this.#open = undefined;
      return work(await this.#get());
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    (await open)?.close();
  }

  #get(): Promise<Database> {
    if (!this.#open) {
      const opening = openDatabase(this.name, () => {
        if (this.#open === patient) this.#open = undefined;
      });
      // A database that another tab keeps from opening must not keep the page from working.
      const late = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error("the database does not open")), patience_ms);
      });
      const patient = Promise.race([opening, late]);
      patient.catch(() => undefined);
      this.#open = patient;
    }
    return this.#open;
  }
}

// A transaction tells of its failure twice, by what was asked in it and by `done`. Where the first is awaited before
// the second, `done` is given a listener of its own, or the page would report an error that was dealt with.

/** Signing out leaves nothing behind. */
export async function wipe(database: Database, outbox: boolean): Promise<void> {
  const stores = [
    "kept",
    "conversations",
    "people",
    "drafts",
    ...(outbox ? (["outbox"] as const) : []),
  ] as const;
  const change = database.transaction(stores, "readwrite");
  await Promise.all([...stores.map((store) => change.objectStore(store).clear()), change.done]);
}

/** Throws away what belongs to anybody but `me`. */
export async function dropOthers(database: Database, me: UserId): Promise<void> {
  const change = database.transaction(["kept", "outbox", "drafts"], "readwrite");
  change.done.catch(() => undefined);
  const kept = await change.objectStore("kept").get("kept");
  // Drafts name nobody: they belong to whom the cache beside them belongs to.
  if (kept && kept.me.id !== me) await change.objectStore("drafts").clear();
  for (
    let cursor = await change.objectStore("outbox").openCursor();
    cursor;
    cursor = await cursor.continue()
  ) {
    if (cursor.value.user !== me) await cursor.delete();
  }
  await change.done;
}
