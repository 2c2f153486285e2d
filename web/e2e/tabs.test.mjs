// Several tabs of one person, and pages that are loaded anew in the middle of things.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

scenario("two tabs show each message once, and send each message once", async (world) => {
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const conversation = await anna.direct(ben);
  const hash = `#/c/${conversation}`;
  const context = await world.context(anna);
  const first = await world.visit(context, hash);
  await first.connected();
  const second = await world.visit(context, hash);
  await second.connected();

  await first.say("from the first tab");
  await second.say("from the second tab");
  await first.say("from the first again");
  await ben.say(conversation, "that was all");
  for (const tab of [first, second]) {
    await tab.sent("that was all").waitFor();
    assert.equal(await tab.message("from the").count(), 3);
  }
  assert.deepEqual(await ben.texts(conversation), [
    "from the first tab",
    "from the second tab",
    "from the first again",
    "that was all",
  ]);

  // The tab that sends for all goes; another one takes over.
  await first.page.close();
  await second.say("alone now");
});

scenario("two tabs that were offline send what both wrote, once", async (world) => {
  world.accept(/net::ERR_|WebSocket connection to/);
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const conversation = await anna.direct(ben);
  const hash = `#/c/${conversation}`;
  const context = await world.context(anna);
  const tabs = [await world.visit(context, hash), await world.visit(context, hash)];
  await Promise.all(tabs.map((tab) => tab.connected()));
  await context.setOffline(true);
  await Promise.all(tabs.map((tab) => tab.cutOff()));
  await tabs[0].write("one from here");
  await tabs[1].write("two from there");
  await tabs[0].message("two from there").waitFor();
  await tabs[0].write("three from here");
  await context.setOffline(false);
  await Promise.all(tabs.map((tab) => tab.sent("three from here").waitFor()));
  await ben.say(conversation, "that was all");
  for (const tab of tabs) {
    await tab.sent("that was all").waitFor();
    assert.equal(await tab.message("from").count(), 3);
  }
  assert.deepEqual(await ben.texts(conversation), [
    "one from here",
    "two from there",
    "three from here",
    "that was all",
  ]);
});

scenario("what is read in one tab is read in the other", async (world) => {
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const conversation = await anna.direct(ben);
  const context = await world.context(anna);
  const first = await world.visit(context);
  await first.connected();
  const second = await world.visit(context);
  await second.connected();
  await ben.say(conversation, "hello");
  await ben.say(conversation, "anybody?");
  for (const tab of [first, second]) await tab.row("ben").getByText("2 unread").waitFor();
  await second.open("ben");
  for (const tab of [first, second]) await tab.row("ben").getByText("unread").waitFor({ state: "detached" });
});

scenario("signing out in one tab signs out the other", async (world) => {
  world.accept(/status of 401/);
  const anna = await world.register("anna");
  const context = await world.context(anna);
  const first = await world.visit(context);
  await first.connected();
  const second = await world.visit(context);
  await second.connected();
  await first.signOut();
  for (const tab of [first, second])
    await tab.page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
});

scenario("a reload keeps the place, the draft and what one answers", async (world) => {
  const anna = await world.register("anna");
  const group = await anna.create("Workshop");
  for (let number = 100; number < 240; number += 1) await anna.say(group, `remark ${number}`);
  const screen = await world.enter(anna, { hash: `#/c/${group}` });
  await screen.choose("remark 239", "Reply");
  await screen.composer.fill("half a thou");
  await screen.row("Everyone").click();
  await screen.row("Workshop").getByText("half a thou").waitFor();
  await screen.open("Workshop");
  assert.equal(await screen.composer.inputValue(), "half a thou");

  await screen.page.reload();
  await screen.connected();
  await screen.sent("remark 239").waitFor();
  await screen.page.getByText("Reply to yourself").waitFor();
  assert.equal(await screen.composer.inputValue(), "half a thou");
  await screen.composer.pressSequentially("ght");
  await screen.composer.press("Enter");
  await screen
    .sent("half a thought")
    .getByRole("button", { name: /In reply to/ })
    .waitFor();
  await screen.page.reload();
  await screen.sent("half a thought").waitFor();
  assert.equal(await screen.composer.inputValue(), "");
  assert.equal(await screen.message("half a thought").count(), 1);
});

scenario("what is sent in the moment of a reload arrives once", async (world) => {
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const conversation = await anna.direct(ben);
  const hash = `#/c/${conversation}`;
  const [screen, bens] = await Promise.all([world.enter(anna, { hash }), world.enter(ben, { hash })]);
  for (const text of ["first", "second", "third"]) {
    await screen.composer.fill(text);
    await screen.composer.evaluate((box) => {
      box.form.requestSubmit();
      location.reload();
    });
    await bens.sent(text).waitFor();
    await screen.connected();
    await screen.sent(text).waitFor();
    assert.equal(await screen.composer.inputValue(), "");
  }
  await screen.say("that was all");
  assert.deepEqual(await ben.texts(conversation), ["first", "second", "third", "that was all"]);
});

scenario("a link to a message opens there, also after a reload", async (world) => {
  const anna = await world.register("anna");
  const group = await anna.create("Workshop");
  const seqs = [];
  for (let number = 100; number < 240; number += 1) seqs.push(await anna.say(group, `remark ${number}`));
  const screen = await world.enter(anna, { hash: `#/c/${group}/${seqs[40]}` });
  await screen.sent("remark 140").waitFor();
  await screen.page.reload();
  await screen.sent("remark 140").waitFor();
  await screen.page.waitForFunction(() => {
    const found = [...document.querySelectorAll("[data-row]")].find((row) =>
      row.textContent.includes("remark 140"),
    );
    const { top, bottom } = found?.getBoundingClientRect() ?? {};
    return top > 0 && bottom < window.innerHeight;
  });
});

scenario(
  "a conversation opens at the first message one has not read, and the rest stays unread",
  async (world) => {
    const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
    const group = await anna.create("Workshop", { members: [ben.id] });
    for (let number = 100; number < 110; number += 1) await anna.say(group, `remark ${number}`);
    for (let number = 110; number < 150; number += 1)
      await ben.say(group, `remark ${number}\n\nand more of it`);
    const screen = await world.enter(anna);
    await screen.row("Workshop").getByText("40 unread").waitFor();
    await screen.open("Workshop");
    await screen.log.getByText("New messages").waitFor();
    await screen.sent("remark 110").waitFor();
    // What is in sight is read; what is below is not.
    await screen.row("Workshop").getByText("40 unread").waitFor({ state: "detached" });
    await screen
      .row("Workshop")
      .getByText(/^[23]\d unread$/)
      .waitFor();
    await screen.page.getByRole("button", { name: /^Jump to latest, [23]\d new messages$/ }).click();
    await screen.sent("remark 149").waitFor();
    await screen.row("Workshop").getByText("unread").waitFor({ state: "detached" });
  },
);

scenario("older messages come while one scrolls up, without a jump", async (world) => {
  const anna = await world.register("anna");
  const group = await anna.create("Workshop");
  for (let number = 100; number < 400; number += 1) await anna.say(group, `remark ${number}`);
  const screen = await world.enter(anna, { hash: `#/c/${group}` });
  await screen.sent("remark 399").waitFor();
  // Up to the very beginning, page by page, as a wheel would.
  await screen.log.hover();
  const seen = new Set();
  let steps = 0;
  while (!(await screen.log.getByText("This is the beginning of the group.").isVisible())) {
    for (const text of await screen.log.locator(".text").allTextContents()) seen.add(text.trim());
    steps += 1;
    assert.ok(steps < 500, "scrolling up leads nowhere");
    await screen.page.mouse.wheel(0, -600);
    await screen.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await screen.settled();
  }
  for (const text of await screen.log.locator(".text").allTextContents()) seen.add(text.trim());
  assert.deepEqual(
    [...seen].sort(),
    Array.from({ length: 300 }, (_, number) => `remark ${number + 100}`),
  );
});
