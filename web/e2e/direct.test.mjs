// Two people in a direct conversation: what one does, the other sees.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

scenario("messages go both ways, with typing and with marks of delivery and reading", async (world) => {
  const { annas, bens } = await world.pair();
  await annas.open("Ben Okafor");
  await annas.say("hello Ben");
  await annas.sent("hello Ben").getByText("Delivered", { exact: true }).waitFor({ state: "attached" });

  await bens.row("Anna Berg").getByText("1 unread").waitFor();
  await bens.page.bringToFront();
  await bens.open("Anna Berg");
  await bens.sent("hello Ben").waitFor();
  await annas.sent("hello Ben").getByText("Read", { exact: true }).waitFor({ state: "attached" });
  await bens.row("Anna Berg").getByText("unread").waitFor({ state: "detached" });

  await bens.composer.pressSequentially("hel");
  await annas.page.getByText("Ben Okafor is typing").waitFor();
  await bens.say("hello Anna");
  await annas.sent("hello Anna").waitFor();
  await annas.page.getByText("is typing").waitFor({ state: "detached" });
  assert.equal(await annas.message("hello").count(), 2);
  assert.equal(await bens.message("hello").count(), 2);
});

scenario("who is online has a green dot, and loses it", async (world) => {
  const { annas, bens } = await world.pair();
  const dot = annas.row("Ben Okafor").locator(".dot.online");
  await dot.waitFor();
  const [red, green, blue] = await dot.evaluate((element) => {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = getComputedStyle(element).backgroundColor;
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  });
  assert.ok(
    green > 120 && green > red * 1.3 && green > blue * 1.3,
    `rgb(${red}, ${green}, ${blue}) is not green`,
  );
  await annas.open("Ben Okafor");
  await annas.page.locator(".under .online", { hasText: "Online" }).waitFor();

  await bens.page.close();
  await dot.waitFor({ state: "detached" });
  await annas.page.locator(".under", { hasText: /Last seen/ }).waitFor();
});

scenario("a reply quotes and leads to what it answers", async (world) => {
  const { annas, bens, conversation } = await world.pair();
  await annas.go(conversation);
  await bens.go(conversation);
  await annas.say("shall we meet on Friday?");
  await bens.choose("Friday", "Reply");
  await bens.page.getByText("Reply to Anna Berg").waitFor();
  await bens.say("gladly");
  const quote = annas.sent("gladly").getByRole("button", { name: /In reply to/ });
  assert.match(await quote.textContent(), /You\s*shall we meet on Friday\?/);
  await quote.click();
  await annas.page.waitForURL(/#\/c\/\d+\/\d+$/);
});

scenario("an edit and a deletion are seen by both", async (world) => {
  const { annas, bens, conversation } = await world.pair();
  await annas.go(conversation);
  await bens.go(conversation);
  await annas.say("see you at nine");
  await annas.choose("see you at nine", "Edit");
  await annas.composer.fill("see you at ten");
  await annas.composer.press("Enter");
  await bens.sent("see you at ten").getByText("(edited)").waitFor();
  assert.equal(await bens.message("see you at nine").count(), 0);

  // Deleting can be undone for a moment, and then cannot.
  await annas.choose("see you at ten", "Delete");
  await annas.toast("Message deleted").getByRole("button", { name: "Undo" }).click();
  await annas.sent("see you at ten").waitFor();
  await annas.choose("see you at ten", "Delete");
  await annas.toast("Message deleted").getByRole("button", { name: "Dismiss" }).click();
  await bens.message("Message deleted").waitFor();
  await annas.message("Message deleted").waitFor();
  assert.equal(await bens.page.getByText("see you at ten").count(), 0, "the text is gone, from the list too");
});

scenario("a reaction is counted, and taken back by a second click", async (world) => {
  const { annas, bens, conversation } = await world.pair();
  await annas.go(conversation);
  await bens.go(conversation);
  await annas.say("it works");
  const message = bens.sent("it works");
  await message.hover();
  await message.getByRole("button", { name: "React", exact: true }).click();
  await bens.page.getByRole("searchbox", { name: "Search emoji" }).fill("tada");
  await bens.page.getByRole("searchbox", { name: "Search emoji" }).press("Enter");
  const annasCount = annas.sent("it works").getByRole("button", { name: /Ben Okafor reacted with/ });
  await annasCount.click();
  const both = bens.sent("it works").getByRole("button", { name: /and You reacted|You and .* reacted/ });
  assert.match(await both.textContent(), /🎉\s*2/);
  await both.click();
  await annas
    .sent("it works")
    .getByRole("button", { name: /: You reacted with/ })
    .waitFor();
});

scenario("a thread keeps its replies beside the conversation", async (world) => {
  const { annas, bens, conversation } = await world.pair();
  await annas.go(conversation);
  await bens.go(conversation);
  await annas.say("which colour?");
  await bens.choose("which colour?", "Reply in thread");
  const answer = bens.page.getByRole("textbox", { name: "Reply in thread" });
  await answer.fill("green");
  await answer.press("Enter");
  await annas.sent("which colour?").getByRole("button", { name: "1 reply" }).click();
  await annas.page
    .getByRole("log", { name: "Thread" })
    .getByRole("article")
    .filter({ hasText: "green" })
    .waitFor();
});
