// A page of the app, in the words of who uses it. Everything here waits for what is to be seen, never for time.

export class Screen {
  /** Everything the page said on its console. */
  said = [];
  /** What it should not have said. */
  problems = [];

  constructor(page, server) {
    this.page = page;
    this.server = server;
    page.on("console", (message) => {
      const line = `${message.type()}: ${message.text()} ${message.location().url}`;
      this.said.push(line);
      if (message.type() === "error") this.problems.push(line);
    });
    page.on("pageerror", (error) => this.#problem(`uncaught: ${error.stack ?? error.message}`));
    page.on("dialog", (dialog) => {
      this.#problem(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("crash", () => this.#problem("the page crashed"));
  }

  #problem(line) {
    this.said.push(line);
    this.problems.push(line);
  }

  /** Waits until the page is signed in and has caught up. */
  async connected() {
    await this.page.locator(".me .state", { hasText: "Online" }).waitFor({ state: "attached" });
  }

  /** Waits until the page has written down with what it would begin again. */
  async remembered() {
    await this.page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const opening = indexedDB.open("chinwag");
          opening.onerror = () => reject(opening.error);
          opening.onsuccess = () => {
            const look = () => {
              const found = opening.result.transaction("kept").objectStore("kept").get("kept");
              found.onsuccess = () => {
                if (!found.result) return requestAnimationFrame(look);
                opening.result.close();
                resolve();
              };
            };
            look();
          };
        }),
    );
  }

  /** Waits until it has noticed that it is cut off. */
  async cutOff() {
    await this.page.locator(".me .state", { hasText: "Offline" }).waitFor({ state: "attached" });
  }

  /** The line of a conversation in the list. */
  row(title) {
    return this.page
      .getByRole("navigation", { name: "Conversations" })
      .getByRole("link")
      .filter({ hasText: title });
  }

  /** Opens a conversation from the list. */
  async open(title) {
    await this.row(title).click();
    await this.heading(title).waitFor();
    await this.settled();
  }

  /** Opens a conversation, or a message in it, by its address. */
  async go(conversation, message) {
    await this.page.evaluate(
      (hash) => {
        location.hash = hash;
      },
      `#/c/${conversation}${message === undefined ? "" : `/${message}`}`,
    );
    await this.settled();
  }

  heading(title) {
    return this.page.getByRole("heading", { level: 1, name: title });
  }

  get log() {
    return this.page.getByRole("log", { name: /^Messages with/ });
  }

  /** Waits until the open conversation has its messages. */
  async settled() {
    await this.page.locator('[role="log"][aria-busy="false"]').waitFor();
  }

  /** The messages of the open conversation that contain a text, sent or waiting. */
  message(text) {
    return this.log.locator(".message").filter({ hasText: text });
  }

  /** The messages that the server has; the others wait. */
  sent(text) {
    return this.log.getByRole("article").filter({ hasText: text });
  }

  get composer() {
    return this.page.getByRole("textbox", { name: /^Message / });
  }

  /** Writes and sends, without waiting for the server. */
  async write(text) {
    await this.composer.fill(text);
    await this.composer.press("Enter");
    await this.message(lastLine(text)).last().waitFor();
  }

  /** Writes, and waits until the server has it. */
  async say(text) {
    await this.write(text);
    await this.sent(lastLine(text)).last().waitFor();
  }

  /** Opens the menu of a message and chooses from it. */
  async choose(text, item) {
    const message = this.sent(text).last();
    await message.hover();
    await message.getByRole("button", { name: "More actions" }).click();
    await this.page.getByRole("menuitem", { name: item, exact: true }).click();
  }

  /** Opens the menu over the conversation and chooses from it. */
  async chooseForConversation(item) {
    await this.page.getByRole("button", { name: "More", exact: true }).click();
    await this.page.getByRole("menuitem", { name: item, exact: true }).click();
  }

  /** Chooses from the menu of the list. */
  async begin(item) {
    await this.page.getByRole("button", { name: "New conversation" }).click();
    await this.page.getByRole("menuitem", { name: item, exact: true }).click();
  }

  get dialog() {
    return this.page.getByRole("dialog");
  }

  toast(text) {
    return this.page.locator(".toast").filter({ hasText: text });
  }

  /** Fills in the form of the door and sends it. */
  async register(handle, password) {
    await this.page.getByRole("button", { name: "Create an account" }).click();
    await this.door(handle, password, "Create account");
  }

  async signIn(handle, password) {
    await this.door(handle, password, "Sign in");
  }

  async door(handle, password, button) {
    await this.page.getByRole("textbox", { name: "Name" }).fill(handle);
    await this.page.getByRole("textbox", { name: "Password" }).fill(password);
    await this.page.getByRole("button", { name: button, exact: true }).click();
  }

  async signOut() {
    await this.page.getByRole("button", { name: "Settings", exact: true }).click();
    await this.dialog.getByRole("button", { name: "Sign out" }).click();
    await this.dialog.filter({ hasText: "Sign out?" }).getByRole("button", { name: "Sign out" }).click();
  }

  /** How many pixels of the page are beyond its right edge. */
  overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  }
}

function lastLine(text) {
  return text.split("\n").at(-1);
}
