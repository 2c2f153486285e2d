// Everything by the keys alone. The focus is always somewhere, and always to be seen.
import assert from "node:assert/strict";
import { password } from "./support/account.mjs";
import { scenario } from "./support/scenario.mjs";

/** What has the focus: it is not lost on the page, it is on the screen, and it looks different from what has not. */
async function focus(screen) {
  const found = await screen.page.evaluate(() => {
    const element = document.activeElement;
    if (!element || element === document.body) return undefined;
    const { top, left, bottom, right } = element.getBoundingClientRect();
    // What the focus looks like may be drawn by the element itself or by the frame around it.
    const frames = [element, element.parentElement, element.parentElement?.parentElement].filter(Boolean);
    const looks = () =>
      frames
        .map((frame) => getComputedStyle(frame))
        .map((style) => [style.outline, style.boxShadow, style.borderColor, style.backgroundColor].join())
        .join();
    const before = looks();
    let marked = true;
    if (element.matches("input, textarea")) {
      element.blur();
      marked = looks() !== before;
      element.focus({ preventScroll: true });
    } else {
      marked = frames.some((frame) => {
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(frame);
        return (outlineStyle !== "none" && Number.parseFloat(outlineWidth) > 0) || boxShadow !== "none";
      });
    }
    return {
      name:
        element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent.trim(),
      role: element.getAttribute("role") ?? element.localName,
      shown: bottom > 0 && right > 0 && top < innerHeight && left < innerWidth,
      marked,
    };
  });
  assert.ok(found, "the focus is lost");
  assert.ok(found.shown, `the focus is out of sight: ${found.role} ${found.name}`);
  assert.ok(found.marked, `the focus cannot be seen: ${found.role} ${found.name}`);
  return found;
}

async function press(screen, ...keys) {
  for (const key of keys) await screen.page.keyboard.press(key);
}

async function focused(locator) {
  await locator.and(locator.page().locator(":focus")).waitFor();
}

scenario("sign in, find somebody, write, change it, react and leave, without a mouse", async (world) => {
  world.accept(/status of 401/);
  const [, ben] = await Promise.all([world.register("anna"), world.register("ben", { name: "Ben Okafor" })]);
  const screen = await world.visit(await world.context());
  const keyboard = screen.page.keyboard;
  await focused(screen.page.getByRole("textbox", { name: "Name" }));
  await keyboard.type("anna");
  await press(screen, "Tab");
  await focus(screen);
  await keyboard.type(password);
  await press(screen, "Enter");
  await screen.connected();

  await press(screen, "Control+k");
  await focused(screen.page.getByRole("combobox", { name: "Conversation or person" }));
  await keyboard.type("oka");
  await screen.page.getByRole("option", { name: /Ben Okafor/ }).waitFor();
  await press(screen, "Enter");
  await screen.heading("Ben Okafor").waitFor();
  await focused(screen.composer);

  for (const text of ["one", "two", "tree"]) {
    await keyboard.type(text);
    await press(screen, "Enter");
    await screen.sent(text).waitFor();
    await focused(screen.composer);
  }
  await press(screen, "ArrowUp");
  await screen.page.getByText("Editing your message").waitFor();
  assert.equal(await screen.composer.inputValue(), "tree");
  await press(screen, "Escape");
  await screen.page.getByText("Editing your message").waitFor({ state: "detached" });
  await focused(screen.composer);
  await press(screen, "ArrowUp", "Control+a");
  await keyboard.type("three");
  await press(screen, "Enter");
  await screen.sent("three").getByText("(edited)").waitFor();
  await focused(screen.composer);

  // From the composer back over its button for files to the messages, and up to the first.
  await press(screen, "Shift+Tab");
  assert.match((await focus(screen)).name, /attach/i);
  await press(screen, "Shift+Tab");
  await focused(screen.log);
  await press(screen, "ArrowUp");
  await focused(screen.sent("three"));
  await focus(screen);
  await press(screen, "ArrowUp", "ArrowUp");
  await focused(screen.sent("one"));
  await press(screen, "ArrowDown");
  await focused(screen.sent("two"));
  await press(screen, "Enter");
  await focused(screen.page.getByRole("menuitem").first());
  await focus(screen);
  await press(screen, "Escape");
  await screen.page.getByRole("menu").waitFor({ state: "detached" });
  await focused(screen.sent("two"));
  await press(screen, "Enter");
  await screen.page.getByRole("menuitem", { name: "React" }).waitFor();
  while (!(await screen.page.locator('[role="menuitem"]:focus', { hasText: "React" }).count())) {
    await press(screen, "ArrowDown");
  }
  await press(screen, "Enter");
  await focused(screen.page.getByRole("searchbox", { name: "Search emoji" }));
  await keyboard.type("heart");
  await press(screen, "Enter");
  await screen
    .sent("two")
    .getByRole("button", { name: /: You reacted with/ })
    .waitFor();
  await focus(screen);
  await press(screen, "Escape");
  await focused(screen.composer);

  await press(screen, "Alt+ArrowDown");
  await screen.heading("Everyone").waitFor();
  assert.ok(ben.id > 0);
});

scenario("every stop of the Tab key can be seen, and a round leads back", async (world) => {
  const anna = await world.register("anna");
  const ben = await world.register("ben");
  const group = await anna.create("Garden", { members: [ben.id] });
  await anna.say(group, "a message with https://example.org/ in it");
  const screen = await world.enter(anna, { hash: `#/c/${group}` });
  await screen.sent("a message with").waitFor();
  await screen.page.getByRole("button", { name: "Members", exact: true }).click();
  await screen.page.getByRole("button", { name: "Actions for ben" }).waitFor();
  await screen.page.getByRole("button", { name: "New conversation" }).focus();
  const seen = [];
  do {
    await press(screen, "Tab");
    // Between its last and its first stop the focus is with the browser, not with the page.
    if (await screen.page.evaluate(() => document.activeElement === document.body)) continue;
    const { role, name } = await focus(screen);
    seen.push(`${role} ${name}`);
    assert.ok(seen.length < 80, `no end of stops: ${seen.join(", ")}`);
  } while (!seen.at(-1).includes("New conversation"));
  for (const part of [
    "Jump to",
    "Garden",
    "Settings",
    "Search",
    "Members",
    "Messages with",
    "Message in",
    "Actions for ben",
  ]) {
    assert.ok(
      seen.some((stop) => stop.includes(part)),
      `never reached: ${part} among ${seen.join(", ")}`,
    );
  }
});

scenario("dialogs, menus and panels keep the focus and give it back", async (world) => {
  const anna = await world.register("anna");
  const screen = await world.enter(anna, { hash: "#/c/1" });
  await focused(screen.composer);
  const opener = screen.page.getByRole("button", { name: "New conversation" });
  await opener.focus();
  await press(screen, "Enter");
  await focused(screen.page.getByRole("menuitem").first());
  await press(screen, "Escape");
  await focused(opener);

  await press(screen, "Enter", "ArrowDown", "Enter");
  await focused(screen.dialog.getByRole("textbox", { name: "Name" }));
  for (let stop = 0; stop < 30; stop += 1) {
    await press(screen, "Tab");
    const inside = await screen.page.evaluate(
      () => document.activeElement === document.body || document.activeElement.closest("dialog") !== null,
    );
    assert.ok(inside, "the focus left the dialog");
  }
  await press(screen, "Escape");
  await screen.dialog.waitFor({ state: "detached" });
  await focused(opener);

  const settings = screen.page.getByRole("button", { name: "Settings", exact: true });
  await settings.focus();
  await press(screen, "Enter");
  await screen.dialog.waitFor();
  await focus(screen);
  await press(screen, "Escape");
  await screen.dialog.waitFor({ state: "detached" });
  await focused(settings);

  await screen.page.getByRole("button", { name: "Search", exact: true }).focus();
  await press(screen, "Enter");
  await focused(screen.page.getByRole("searchbox", { name: "Search messages" }));
  await press(screen, "Escape");
  await screen.page.getByRole("complementary", { name: "Search" }).waitFor({ state: "detached" });
  await focused(screen.composer);

  await screen.page.getByRole("link", { name: /Everyone/ }).focus();
  await press(screen, "?");
  await screen.dialog.getByRole("heading", { name: "Keyboard" }).waitFor();
  await press(screen, "Escape");
  await screen.dialog.waitFor({ state: "detached" });
  await focused(screen.page.getByRole("link", { name: /Everyone/ }));
});
