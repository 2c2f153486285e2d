/**
 * The life of the WebSocket: hello, heartbeats, and coming back after whatever happens.
 *
 * Heartbeats go both ways because a dead TCP connection tells nobody: we ping when we were quiet, and leave when the
 * server was silent for a heartbeat and a quarter. Coming back waits longer each time, with jitter, so that a restarted server
 * is not met by everybody at once; a hint of the server overrides that.
 * Does not know what entries mean.
 */
import { checkFrame } from "../protocol/check";
import {
  type ClientFrame,
  type Closing,
  type Origin,
  PROTOCOL_VERSION,
  type ServerFrame,
} from "../protocol/types";
import { Clock } from "./clock";

export interface SocketEvents {
  /** Where to go on; asked at each attempt. */
  origin(): Origin | undefined;
  frame(frame: ServerFrame): void;
  connecting(): void;
  /** The connection is gone; the next attempt is made then, if any. */
  gone(retryAt: number | undefined): void;
  /** The server does not want us back by ourselves. Answers whether to go on trying all the same. */
  ended(closing: Closing): Promise<boolean>;
  /** An attempt failed before the server said anything. Answers whether to go on trying. */
  failed(): Promise<boolean>;
}

const first_ms = 500;
const longest_ms = 30_000;
const opening_ms = 15_000;
const slow_ms = 30_000;

export class Socket {
  #socket: WebSocket | undefined;
  #running = false;
  #greeted = false;
  #attempts = 0;
  #heartbeat_ms = 30_000;
  #sentAt = 0;
  #heardAt = 0;
  #hint: number | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #clock = new Clock(() => this.#pulse());
  readonly #stopListening: () => void;

  constructor(
    private readonly url: string,
    private readonly events: SocketEvents,
    private readonly random: () => number = Math.random,
  ) {
    const wake = () => this.#wake();
    const visible = () => {
      if (document.visibilityState === "visible") this.#wake();
    };
    const offline = () => this.#drop();
    window.addEventListener("online", wake);
    window.addEventListener("offline", offline);
    document.addEventListener("visibilitychange", visible);
    this.#stopListening = () => {
      window.removeEventListener("online", wake);
      window.removeEventListener("offline", offline);
      document.removeEventListener("visibilitychange", visible);
    };
  }

  /** Whether frames can be sent and are heard. */
  get open(): boolean {
    return this.#greeted && this.#socket?.readyState === WebSocket.OPEN;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#attempts = 0;
    this.#connect();
  }

  /** Leaves and does not come back until `start`. */
  stop(): void {
    this.#running = false;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#close();
  }

  /** Stops for good. */
  destroy(): void {
    this.stop();
    this.#clock.destroy();
    this.#stopListening();
  }

  /** Tries again now. */
  retryNow(): void {
    if (!this.#running || this.#socket) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#connect();
  }

  /** `false`: there is no connection, nothing was sent. */
  send(frame: ClientFrame): boolean {
    if (!this.open) return false;
    this.#write(frame);
    return true;
  }

  #write(frame: ClientFrame): void {
    this.#sentAt = Date.now();
    this.#socket?.send(JSON.stringify(frame));
  }

  #connect(): void {
    this.events.connecting();
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.url);
    } catch {
      this.#again();
      return;
    }
    this.#socket = socket;
    this.#greeted = false;
    this.#hint = undefined;
    // A connection that is accepted but never answered is as bad as none.
    const opening = setTimeout(() => {
      if (socket === this.#socket && !this.#greeted) this.#drop();
    }, opening_ms);
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      const resume = this.events.origin();
      this.#write({ hello: { version: PROTOCOL_VERSION, ...(resume ? { resume } : {}) } });
    };
    socket.onmessage = (message) => {
      if (socket === this.#socket && typeof message.data === "string") this.#hear(message.data);
    };
    socket.onclose = () => {
      clearTimeout(opening);
      if (socket === this.#socket) this.#drop();
    };
  }

  #hear(text: string): void {
    this.#heardAt = Date.now();
    const checked = checkFrame(text);
    if ("unknown" in checked) return;
    if ("malformed" in checked) {
      console.error(`the server sent a malformed frame: ${checked.malformed}`);
      return;
    }
    const frame = checked.frame;
    if ("welcome" in frame) this.#welcome(frame.welcome.heartbeat_ms);
    else if ("resumed" in frame) this.#welcome(frame.resumed.heartbeat_ms);
    else if ("closing" in frame) {
      this.#closing(frame.closing);
      return;
    }
    this.events.frame(frame);
  }

  #closing(closing: Closing): void {
    if (closing.retry_after_ms !== undefined) {
      this.#hint = closing.retry_after_ms;
      this.#drop();
      return;
    }
    this.#close();
    this.events.gone(undefined);
    // Whoever is sent away for good and comes back all the same comes back slowly.
    this.#hint = slow_ms;
    this.#ask(this.events.ended(closing));
  }

  /** Goes on trying if the answer is yes, and nothing else has happened meanwhile. */
  #ask(answer: Promise<boolean>): void {
    void answer.then((goOn) => {
      if (!this.#running || this.#socket || this.#retry) return;
      if (goOn) this.#again();
      else this.stop();
    });
  }

  #welcome(heartbeat_ms: number): void {
    this.#greeted = true;
    this.#attempts = 0;
    this.#heartbeat_ms = Math.max(1_000, heartbeat_ms);
    this.#clock.every(this.#heartbeat_ms / 4);
  }

  #pulse(): void {
    if (!this.open) return;
    const now = Date.now();
    const quiet_ms = this.#heartbeat_ms / 2;
    if (now - this.#heardAt > 1.25 * this.#heartbeat_ms) this.#drop();
    // A ping that was just sent is given its time.
    else if (
      now - this.#sentAt >= quiet_ms ||
      (now - this.#heardAt >= quiet_ms && now - this.#sentAt >= quiet_ms / 2)
    ) {
      this.send({ ping: {} });
    }
  }

  /** The machine or the page woke up: try at once, or make sure that the connection still lives. */
  #wake(): void {
    if (!this.#running) return;
    if (!this.#socket) this.retryNow();
    else if (this.open) this.#pulse();
  }

  /** The connection is gone or is given up. */
  #drop(): void {
    if (!this.#socket) return;
    const greeted = this.#greeted;
    this.#close();
    if (!this.#running) return;
    if (greeted) {
      this.#again();
      return;
    }
    this.#ask(this.events.failed());
  }

  #close(): void {
    this.#clock.stop();
    this.#greeted = false;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #again(): void {
    const wait =
      this.#hint === undefined
        ? Math.min(longest_ms, first_ms * 2 ** this.#attempts) * (0.5 + this.random() / 2)
        : this.#hint * (1 + this.random());
    this.#attempts = Math.min(this.#attempts + 1, 16);
    this.#hint = undefined;
    this.events.gone(Date.now() + wait);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (this.#running && !this.#socket) this.#connect();
    }, wait);
  }
}
