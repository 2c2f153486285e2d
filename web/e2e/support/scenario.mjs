// One scenario: a server of its own, people in browsers of their own, and no complaint by any page.
// On failure every page is drawn into a temporary folder, and what it said is printed.
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { chromium } from "playwright-core";
import { Account } from "./account.mjs";
import { Screen } from "./screen.mjs";
import { Server } from "./server.mjs";

/** Long enough for a loaded machine; nothing waits for it when all is well. */
export const patience_ms = 20_000;

let started;

/** The browser of this file's tests, started when it is first wanted. */
export function browser() {
  started ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // A window that another one covers must go on working, as it would on a screen of its own.
      "--disable-backgrounding-occluded-windows",
    ],
  });
  return started;
}

after(async () => {
  if (started) await (await started).close();
});

class World {
  screens = [];
  contexts = [];
  #accepted = [];

  constructor(server) {
    this.server = server;
  }

  register(handle, profile, invite) {
    return Account.register(this.server, handle, profile, invite);
  }

  /** Says which console errors belong to this scenario, such as those of a cut connection. */
  accept(...patterns) {
    this.#accepted.push(...patterns);
  }

  /** A fresh browser profile; signed in if an account is given. */
  async context(account, options = {}) {
    const context = await (await browser()).newContext({
      viewport: { width: 1280, height: 800 },
      locale: "en-GB",
      ...options,
    });
    context.setDefaultTimeout(patience_ms);
    this.contexts.push(context);
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} ${event.sample}`);
      });
    });
    if (account) {
      await context.addCookies([
        {
          name: "__Host-chinwag",
          value: account.token,
          domain: "127.0.0.1",
          path: "/",
          secure: true,
          httpOnly: true,
          sameSite: "Strict",
        },
      ]);
    }
    return context;
  }

  /** A page at the app's address; `hash` is where in it. */
  async visit(context, hash = "") {
    const screen = new Screen(await context.newPage(), this.server);
    this.screens.push(screen);
    await screen.page.goto(`${this.server.origin}/${hash}`);
    return screen;
  }

  /** The page of somebody who is signed in, when it is up to date. */
  async enter(account, { hash = "", ...options } = {}) {
    const screen = await this.visit(await this.context(account, options), hash);
    await screen.connected();
    return screen;
  }

  /** Two people with a direct conversation, each at a page of his own. */
  async pair() {
    const [anna, ben] = await Promise.all([
      this.register("anna", { name: "Anna Berg", hue: 20 }),
      this.register("ben", { name: "Ben Okafor", hue: 210 }),
    ]);
    const conversation = await anna.direct(ben);
    const [annas, bens] = await Promise.all([this.enter(anna), this.enter(ben)]);
    return { anna, ben, conversation, annas, bens };
  }

  /** What the pages complained about and no scenario accepts. */
  get problems() {
    return this.screens
      .flatMap((screen) => screen.problems)
      .filter((problem) => !this.#accepted.some((pattern) => pattern.test(problem)));
  }

  async report() {
    const folder = await mkdtemp(join(tmpdir(), "chinwag-e2e-failed-"));
    for (const [at, screen] of this.screens.entries()) {
      const path = join(folder, `${at + 1}.png`);
      const drawn = await screen.page.screenshot({ path, timeout: 5000 }).then(
        () => path,
        (error) => error.message,
      );
      console.error(`page ${at + 1} at ${screen.page.url()}: ${drawn}`);
      for (const line of screen.said) console.error(`  ${line}`);
    }
    console.error(`server: ${this.server.errors}`);
  }
}

export function scenario(name, run) {
  test(name, { timeout: 120_000 }, async () => {
    const world = new World(await Server.start());
    try {
      await run(world);
      const { problems } = world;
      if (problems.length > 0) throw new Error(`a page complained: ${problems.join("; ")}`);
    } catch (error) {
      await world.report();
      throw error;
    } finally {
      await Promise.all(world.contexts.map((context) => context.close()));
      await world.server.remove();
    }
  });
}
