/**
 * Keeps the logs in step: each entry is applied once and in order, whatever comes twice, too early, or not at all.
 *
 * Entries that were applied already are dropped by their number. An entry that comes too early waits while the
 * missing ones are asked for. Entries of a conversation that is not known yet wait for the `entered` of one's own
 * log, because the two logs are not ordered against each other.
 *
 * Invariant: `positions` names exactly what has been handed to `apply`; there is no other path into the state.
 */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type { Entry, LogId, Origin, Seq } from "../protocol/types";
import { batch } from "./observable";

/** `gap`: entries before it are missing; it waits for them. */
export type Received = "applied" | "ignored" | "gap";

const page = 200;
/** So many entries of one log may wait; more would be asked for again anyway. */
const waiting_max = 2_000;

export class Sync {
  #epoch = "";
  #positions = new Map<LogId, Seq>();
  readonly #waiting = new Map<LogId, Map<Seq, Entry>>();
  readonly #filling = new Set<LogId>();

  constructor(
    private readonly ask: Pick<Ask, "query">,
    private readonly apply: (entry: Entry) => void,
  ) {}

  get epoch(): string {
    return this.#epoch;
  }

  position(log: LogId): Seq | undefined {
    return this.#positions.get(log);
  }

  get positions(): [LogId, Seq][] {
    return [...this.#positions];
  }

  /** What to say in `hello`; nothing before the first snapshot. */
  origin(): Origin | undefined {
    if (this.#epoch === "") return undefined;
    return { epoch: this.#epoch, positions: this.positions };
  }

  /** Starts again from a full state. */
  reset(epoch: string, positions: Iterable<[LogId, Seq]>): void {
    this.#epoch = epoch;
    this.#positions = new Map(positions);
    this.#waiting.clear();
    this.#filling.clear();
  }

  /** Follows a log from here on: what is in front of `seq` is known. */
  follow(log: LogId, seq: Seq): void {
    this.#positions.set(log, seq);
    this.#drain(log);
  }

  /** Follows a log no more. */
  leave(log: LogId): void {
    this.#positions.delete(log);
    this.#waiting.delete(log);
  }

  /** Takes an entry from the wire, and says what became of it. */
  receive(entry: Entry): Received {
    const { log, seq } = entry;
    const position = this.#positions.get(log);
    // Of a conversation that is not known yet the `entered` may be about to come; other logs are none of ours.
    if (position === undefined ? !log.startsWith("c") : seq <= position) return "ignored";
    let waiting = this.#waiting.get(log);
    if (!waiting) {
      waiting = new Map();
      this.#waiting.set(log, waiting);
    }
    if (waiting.size < waiting_max) waiting.set(seq, entry);
    if (position === undefined) return "ignored";
    this.#drain(log);
    return seq === position + 1 ? "applied" : "gap";
  }

  /** Applies what follows without a gap, and asks for what is missing. */
  #drain(log: LogId): void {
    const waiting = this.#waiting.get(log);
    if (!waiting) return;
    batch(() => {
      for (;;) {
        const position = this.#positions.get(log);
        const entry = position === undefined ? undefined : waiting.get(position + 1);
        if (!entry) break;
        waiting.delete(entry.seq);
        this.#positions.set(log, entry.seq);
        this.apply(entry);
      }
    });
    // Applying may have left the log, or started it anew.
    const position = this.#positions.get(log);
    if (position === undefined) return;
    for (const seq of waiting.keys()) if (seq <= position) waiting.delete(seq);
    if (waiting.size === 0) this.#waiting.delete(log);
    else void this.#fill(log);
  }

  async #fill(log: LogId): Promise<void> {
    if (this.#filling.has(log)) return;
    this.#filling.add(log);
    const epoch = this.#epoch;
    try {
      for (;;) {
        const after = this.#positions.get(log);
        if (after === undefined || !this.#waiting.has(log)) return;
        const found = expectAnswer(await this.ask.query({ entries: { log, after, limit: page } }), "entries");
        if (this.#epoch !== epoch) return;
        if (found.entries.length === 0) return;
        this.#applyFound(log, found.entries);
        if (this.#positions.get(log) === after) return;
      }
    } catch (error) {
      // No connection, or no right to read it any more: the next `hello` names our position and settles both.
      // A server that is only busy is asked again.
      const refused = error instanceof RefusedError ? error.refused : undefined;
      if (refused?.kind === "too_many" || refused?.code === "busy")
        this.#fillLater(log, refused.retry_after_ms);
    } finally {
      this.#filling.delete(log);
    }
  }
  #fillLater(log: LogId, wait_ms = 2_000): void {
    setTimeout(() => {
      if (this.#waiting.has(log)) void this.#fill(log);
    }, wait_ms);
  }

  /** Applies an answer. What the server leaves out may not be seen: a jump in its numbers is no gap. */
  #applyFound(log: LogId, entries: readonly Entry[]): void {
    batch(() => {
      for (const entry of entries) {
        const position = this.#positions.get(log);
        if (position === undefined || entry.seq <= position) continue;
        this.#positions.set(log, entry.seq);
        this.apply(entry);
      }
    });
    this.#drain(log);
  }
}
