/**
 * The smallest thing a view can watch: something that says "I have changed", and nothing about how.
 *
 * Invariant: no listener runs in the middle of a `batch`; each runs at most once after it. Catching up with ten
 * thousand entries therefore costs one drawing, not ten thousand.
 */
export type Listener = () => void;

let depth = 0;
const waiting = new Set<Observable>();

/** Runs `work`, and tells the listeners of everything that changed in it afterwards, once. */
export function batch<T>(work: () => T): T {
  depth += 1;
  try {
    return work();
  } finally {
    depth -= 1;
    if (depth === 0) flush();
  }
}

function flush(): void {
  while (waiting.size > 0) {
    const changed = [...waiting];
    waiting.clear();
    for (const observable of changed) observable.announce();
  }
}

export class Observable {
  readonly #listeners = new Set<Listener>();

  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Whether anybody is looking. */
  get watched(): boolean {
    return this.#listeners.size > 0;
  }

  /** Tells the listeners now. Used by `batch`; everybody else says `changed`. */
  announce(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  protected changed(): void {
    if (depth > 0) waiting.add(this);
    else this.announce();
  }
}
