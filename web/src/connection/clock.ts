/**
 * A clock that goes on ticking in a hidden tab. Browsers slow the timers of pages that nobody looks at down to one
 * a minute, which is longer than the server waits for a sign of life; those of workers they leave alone.
 */
import workerUrl from "./clock.worker?worker&url";

interface Policies {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): {
    createScriptURL(url: string): unknown;
  };
}

export class Clock {
  #worker: Worker | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly tick: () => void) {
    this.#worker = newWorker();
    if (!this.#worker) return;
    this.#worker.onmessage = () => this.tick();
    this.#worker.onerror = () => {
      // A worker that does not run must not leave the page without a clock.
      this.#worker = undefined;
    };
  }

  every(ms: number): void {
    clearInterval(this.#timer);
    if (this.#worker) this.#worker.postMessage(ms);
    // Beside the worker it is only a spare: a tick too many does no harm.
    this.#timer = setInterval(() => this.tick(), ms);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#worker?.postMessage(0);
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

let policy: ReturnType<Policies["createPolicy"]> | undefined;

function newWorker(): Worker | undefined {
  if (typeof Worker === "undefined" || workerUrl === "") return undefined;
  try {
    const { trustedTypes } = window as unknown as { trustedTypes?: Policies };
    // The one script address that this app makes by itself, and no other.
    policy ??= trustedTypes?.createPolicy("app", {
      createScriptURL(url) {
        if (url !== workerUrl) throw new TypeError("not a script of this app");
        return url;
      },
    });
    const url = policy ? policy.createScriptURL(workerUrl) : workerUrl;
    return new Worker(url as string, { type: "module" });
  } catch {
    return undefined;
  }
}
