/**
 * One tab of this browser leads: it alone sends the outbox, writes the cache, and shows notifications.
 *
 * Where the browser has no locks (they need a secure context, and a page from the local network over plain HTTP has
 * none) every tab leads. That is harmless: a message sent twice carries the same `client_id`, and what two tabs
 * write is each consistent in itself.
 */
import { Observable } from "./observable";

export interface Locks {
  request(name: string, options: { signal: AbortSignal }, work: () => Promise<void>): Promise<unknown>;
}

export class Leader extends Observable {
  leading = false;
  readonly #stop = new AbortController();
  #release: (() => void) | undefined;

  constructor(locks: Locks | undefined, name = "chinwag-leader") {
    super();
    if (!locks) {
      this.leading = true;
      return;
    }
    const held = new Promise<void>((resolve) => {
      this.#release = resolve;
    });
    locks
      .request(name, { signal: this.#stop.signal }, () => {
        this.leading = true;
        this.changed();
        return held;
      })
      .catch(() => {
        // Stopped while waiting.
      });
  }

  /** Lets another tab lead. */
  stop(): void {
    this.leading = false;
    this.#stop.abort();
    this.#release?.();
  }
}
