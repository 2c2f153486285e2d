/**
 * Questions over a socket: numbers them, matches answers, and gives up after a while.
 *
 * Does not repeat a question: a command that was lost may have happened, and only the asker knows whether it
 * carries a `client_id` and so may be repeated (the outbox does).
 */
import type { Answer, ClientFrame, ClientSignal, Command, Query, Refused, Reply } from "../protocol/types";

/** The server said no, or nobody knows. */
export class RefusedError extends Error {
  constructor(readonly refused: Refused) {
    super(refused.message);
    this.name = "RefusedError";
  }
}

/** A refusal made here: nobody knows whether the question was heard. */
export function unavailable(message: string): RefusedError {
  return new RefusedError({ kind: "unavailable", code: "no_connection", message });
}

/** What the state needs of a connection. */
export interface Ask {
  command(command: Command): Promise<Reply>;
  query(query: Query): Promise<Answer>;
  /** Passes something on if there is a connection; otherwise forgets it. */
  signal(signal: ClientSignal): void;
}

type KeysOf<U> = U extends unknown ? keyof U : never;
type PartOf<U, K extends PropertyKey> = U extends Record<K, infer V> ? V : never;
export type AnswerKind = KeysOf<Answer>;

/** The part of an answer that a query of its kind must have. */
export function expectAnswer<K extends AnswerKind>(answer: Answer, kind: K): PartOf<Answer, K> {
  const part = (answer as Partial<Record<K, PartOf<Answer, K>>>)[kind];
  if (part === undefined) throw unavailable(`the server answered something else than ${kind}`);
  return part;
}

interface Waiting {
  resolve(value: never): void;
  reject(error: RefusedError): void;
  timer: ReturnType<typeof setTimeout>;
}

const patience_ms = 20_000;

export class Questions {
  #next = 1;
  readonly #waiting = new Map<number, Waiting>();

  constructor(private readonly send: (frame: ClientFrame) => boolean) {}

  command(command: Command): Promise<Reply> {
    return this.#ask((id) => ({ command: { id, do: command } }));
  }

  query(query: Query): Promise<Answer> {
    return this.#ask((id) => ({ query: { id, get: query } }));
  }

  /** Gives an answer to whoever asked; an unknown id is the answer to a question that was given up. */
  answered(id: number, value: Reply | Answer): void {
    this.#take(id)?.resolve(value as never);
  }

  refused(id: number, refused: Refused): void {
    this.#take(id)?.reject(new RefusedError(refused));
  }

  /** The connection is gone: nobody knows what became of what was asked over it. */
  lost(): void {
    for (const id of [...this.#waiting.keys()])
      this.#take(id)?.reject(unavailable("the connection was lost"));
  }

  #ask<T>(frame: (id: number) => ClientFrame): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.#next;
      this.#next += 1;
      if (!this.send(frame(id))) {
        reject(unavailable("there is no connection to the server"));
        return;
      }
      const timer = setTimeout(() => {
        this.#take(id)?.reject(unavailable("the server did not answer in time"));
      }, patience_ms);
      this.#waiting.set(id, { resolve: resolve as (value: never) => void, reject, timer });
    });
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (!waiting) return undefined;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    return waiting;
  }
}
