/** Entries that were missed, applied together so that they cost one drawing. */
import type { Entry } from "../protocol/types";
import { batch } from "./observable";

const at_once = 1_000;
const delay_ms = 200;

export class Missed {
  #entries: Entry[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly receive: (entry: Entry) => void) {}

  add(entry: Entry): void {
    this.#entries.push(entry);
    if (this.#entries.length >= at_once) this.apply();
    else this.#timer ??= setTimeout(() => this.apply(), delay_ms);
  }

  /** Applies what is there: something else comes after it. */
  apply(): void {
    const entries = this.#take();
    batch(() => {
      for (const entry of entries) this.receive(entry);
    });
  }

  /** They are in a fresh snapshot already. */
  drop(): void {
    this.#take();
  }

  #take(): Entry[] {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = this.#entries;
    this.#entries = [];
    return entries;
  }
}
