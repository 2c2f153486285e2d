/** One search at a time: what was typed last wins, whatever is answered first. */
import type { Ask } from "../connection/ask";
import { expectAnswer, RefusedError } from "../connection/ask";
import type { Refused, SearchHit } from "../protocol/types";
import { Observable } from "./observable";

const page = 30;

export class Search extends Observable {
  text = "";
  hits: readonly SearchHit[] = [];
  loading = false;
  error: Refused | undefined;
  #next: string | undefined;
  #asked = 0;

  constructor(private readonly ask: Pick<Ask, "query">) {
    super();
  }

  /** Whether there are older ones. */
  get more(): boolean {
    return this.#next !== undefined;
  }

  /** Searches; an empty text shows nothing. */
  async find(text: string): Promise<void> {
    this.text = text;
    this.hits = [];
    this.#next = undefined;
    this.error = undefined;
    this.#asked += 1;
    this.loading = false;
    this.changed();
    if (text.trim() !== "") await this.#load(undefined);
  }

  /** The next page of older results. */
  async loadMore(): Promise<void> {
    if (this.#next !== undefined && !this.loading) await this.#load(this.#next);
  }

  async #load(next: string | undefined): Promise<void> {
    const asked = this.#asked;
    this.loading = true;
    this.changed();
    try {
      const query = { text: this.text, limit: page, ...(next === undefined ? {} : { page: next }) };
      const found = expectAnswer(await this.ask.query({ search: query }), "search");
      if (asked !== this.#asked) return;
      this.hits = [...this.hits, ...found.hits];
      this.#next = found.next;
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (asked === this.#asked) this.error = error.refused;
    } finally {
      if (asked === this.#asked) {
        this.loading = false;
        this.changed();
      }
    }
  }
}

/**
 * The parts of a context line, marked or not. Marks count bytes of UTF-8; strings here count UTF-16 units.
 */
export function markedParts(
  context: string,
  marks: readonly [number, number][],
): { text: string; marked: boolean }[] {
  const bytes = new TextEncoder().encode(context);
  const decoder = new TextDecoder();
  const parts: { text: string; marked: boolean }[] = [];
  let at = 0;
  const push = (to: number, marked: boolean) => {
    if (to > at) parts.push({ text: decoder.decode(bytes.subarray(at, to)), marked });
    at = Math.max(at, to);
  };
  for (const [from, to] of [...marks].sort((a, b) => a[0] - b[0])) {
    push(Math.min(from, bytes.length), false);
    push(Math.min(to, bytes.length), true);
  }
  push(bytes.length, false);
  return parts;
}
