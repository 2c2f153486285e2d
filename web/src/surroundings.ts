/** What the app needs of the browser it runs in; tests give their own. */
import { Disk } from "./state/database";
import type { Locks } from "./state/leader";
import type { Channel } from "./state/outbox";

export interface Surroundings {
  disk?: Disk | undefined;
  locks?: Locks | undefined;
  channel?: ((name: string) => Channel) | undefined;
  url?: string;
  /** Loads the page anew. */
  restart?: (() => void) | undefined;
}

/** Surroundings of a page in a browser. */
export async function browser(): Promise<Surroundings> {
  return {
    disk: "indexedDB" in window ? new Disk() : undefined,
    locks: "locks" in navigator ? (navigator.locks as unknown as Locks) : undefined,
    channel: "BroadcastChannel" in window ? (name) => new BroadcastChannel(name) : undefined,
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/ws`,
    restart: () => location.reload(),
  };
}
