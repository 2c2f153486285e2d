// A real server process on a folder of its own. It is ended by its process id, and its folder goes with it.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

// Tests write faster than people do; these rates are not what is tested here.
const lifted = `[limits]
messages_per_account = { per_s = 1e6, burst = 1000000 }
messages_per_conversation = { per_s = 1e6, burst = 1000000 }
commands_per_account = { per_s = 1e6, burst = 1000000 }
frames_per_connection = { per_s = 1e6, burst = 1000000 }
queries_per_account = { per_s = 1e6, burst = 1000000 }
[doors.tcp_json]
listen = "127.0.0.1:0"
`;

export class Server {
  /** Starts a server on a new folder and waits until it says that it is ready. */
  static async start() {
    const server = new Server();
    server.folder = await mkdtemp(join(tmpdir(), "chinwag-e2e-"));
    await writeFile(join(server.folder, "lifted.toml"), lifted);
    await server.#run("127.0.0.1:0");
    return server;
  }

  /** The address of the page, without a slash at its end. */
  get origin() {
    return `http://${this.address}`;
  }

  /** Starts it again where it was. */
  async restart() {
    await this.#run(this.address);
  }

  /** Ends it as a crash would. */
  async crash() {
    await this.#end("SIGKILL");
  }

  /** Ends it politely; it must end well. */
  async stop() {
    const code = await this.#end("SIGTERM");
    if (code !== 0) throw new Error(`the server ended with ${code}: ${this.errors}`);
  }

  /** Takes over users of another system, while the server is stopped. */
  async import(users) {
    const file = join(this.folder, "users.json");
    await writeFile(file, JSON.stringify(users));
    await this.stop();
    await promisify(execFile)(process.env.CHINWAG_BIN, ["import", file, "--data", join(this.folder, "data")]);
    await this.restart();
  }

  /** Ends it if it runs, and removes what it wrote. */
  async remove() {
    await this.#end("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }

  async #end(signal) {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const ended = once(child, "exit");
    child.kill(signal);
    const [code] = await ended;
    return code;
  }

  async #run(listen) {
    const binary = process.env.CHINWAG_BIN;
    if (!binary) throw new Error("CHINWAG_BIN names the server to test, for example target/debug/chinwag");
    const config = join(this.folder, "lifted.toml");
    const data = join(this.folder, "data");
    const child = spawn(binary, ["serve", "--data", data, "--listen", listen, "--config", config], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child = child;
    this.errors = "";
    child.stderr.on("data", (text) => {
      this.errors += text;
    });
    // Nothing of a test may outlive it, even if the test runner itself is ended.
    const last = () => child.kill("SIGKILL");
    process.once("exit", last);
    child.once("exit", () => process.off("exit", last));
    this.greeting = "";
    for await (const line of createInterface(child.stdout)) {
      this.greeting += `${line}\n`;
      this.address = /http:\/\/([^/\s]+)\//.exec(this.greeting)?.[1];
      if (line.startsWith("Ready")) break;
    }
    child.stdout.resume();
    if (!this.greeting.includes("\nReady"))
      throw new Error(`the server did not start: ${this.greeting}${this.errors}`);
  }

  /** The one-time link that makes an administrator. */
  get setupLink() {
    return /http:\S+#\/setup\/\S+/.exec(this.greeting)?.[0];
  }
}
