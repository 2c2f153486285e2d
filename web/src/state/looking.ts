/**
 * Whether one is looking: a visible page that was touched in the last five minutes. The server is told when it
 * changes, and each new connection if one is away; it takes a new connection for somebody who is there.
 */
import type { Ask } from "../connection/ask";

const idle_ms = 5 * 60_000;
const touches = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

export class Looking {
  #away = false;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #touchedAt = Date.now();
  readonly #stops: (() => void)[] = [];

  constructor(private readonly ask: Pick<Ask, "signal">) {
    const touched = () => this.#touched();
    const visibility = () => this.#look();
    for (const touch of touches) {
      window.addEventListener(touch, touched, { passive: true, capture: true });
      this.#stops.push(() => window.removeEventListener(touch, touched, { capture: true }));
    }
    document.addEventListener("visibilitychange", visibility);
    this.#stops.push(() => document.removeEventListener("visibilitychange", visibility));
    this.#away = document.visibilityState !== "visible";
    this.#wait();
  }

  connected(): void {
    if (this.#away) this.ask.signal({ presence: { presence: "away" } });
  }

  stop(): void {
    clearTimeout(this.#idle);
    for (const stop of this.#stops) stop();
  }

  #touched(): void {
    // Moving a pointer calls this hundreds of times a second: a number is all that it costs.
    this.#touchedAt = Date.now();
    if (this.#away) this.#look();
  }

  #look(): void {
    const visible = document.visibilityState === "visible";
    if (visible && this.#away) this.#touchedAt = Math.max(this.#touchedAt, Date.now());
    const away = !visible || Date.now() - this.#touchedAt >= idle_ms;
    if (away !== this.#away) {
      this.#away = away;
      this.ask.signal({ presence: { presence: away ? "away" : "online" } });
    }
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#idle);
    if (!this.#away) this.#idle = setTimeout(() => this.#look(), this.#touchedAt + idle_ms - Date.now());
  }
}
