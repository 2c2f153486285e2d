// The page fits every window, from a small phone to a wide screen, and the first visit is small.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

const budget_bytes = 200_000;

async function team(world) {
  const anna = await world.register("anna", { name: "Anna Berg" });
  const ben = await world.register("ben", { name: "Ben Okafor" });
  const group = await anna.create("Garden", { topic: "What grows where", members: [ben.id] });
  const root = await anna.say(group, "The beans are out, and the peas will follow within the week.");
  await ben.say(
    group,
    "https://example.org/a/rather/long/address/of/a/page/that/does/not/break/anywhere/at/all.html",
  );
  await ben.say(
    group,
    "```\nlet wide = a_function_with_a_long_name(and_its_first_argument, and_its_second_argument);\n```",
  );
  await ben.say(group, "here", { thread: root });
  await ben.say(await ben.direct(anna), "lunch?");
  return { anna, ben, group };
}

scenario(
  "on a small phone one walks from the list to a conversation, to a panel, and back",
  async (world) => {
    const { anna, group } = await team(world);
    const screen = await world.enter(anna, { viewport: { width: 360, height: 740 }, hasTouch: true });
    const fits = async (where) =>
      assert.ok((await screen.overflow()) <= 0, `${where} is wider than the window`);
    await screen.row("Garden").waitFor();
    await fits("the list");
    assert.equal(await screen.composer.count(), 0);

    await screen.row("Garden").click();
    await screen.heading("Garden").waitFor();
    await screen.sent("The beans are out").waitFor();
    await screen.row("Garden").waitFor({ state: "hidden" });
    await fits("the conversation");
    await screen.say("written on a phone");

    for (const panel of ["Search", "Members"]) {
      await screen.page.getByRole("button", { name: panel, exact: true }).click();
      await screen.page.getByRole("complementary", { name: panel }).waitFor();
      await fits(panel);
      await screen.page.getByRole("button", { name: "Close panel" }).click();
      await screen.composer.waitFor();
    }
    await screen.sent("The beans are out").getByRole("button", { name: "1 reply" }).click();
    await screen.page.getByRole("textbox", { name: "Reply in thread" }).waitFor();
    await fits("the thread");
    await screen.page.getByRole("button", { name: "Close panel" }).click();

    await screen.page.getByRole("button", { name: "Back to conversations" }).click();
    await screen.row("Garden").waitFor();
    await screen.composer.waitFor({ state: "detached" });
    await screen.page.goBack();
    await screen.heading("Garden").waitFor();
    assert.match(screen.page.url(), new RegExp(`#/c/${group}$`));
    await screen.page.getByRole("button", { name: "Back to conversations" }).click();

    for (const item of ["Write to somebody", "Create a group or channel", "Find public conversations"]) {
      await screen.begin(item);
      await screen.dialog.waitFor();
      await fits(item);
      await screen.dialog.getByRole("button", { name: "Close" }).click();
      await screen.dialog.waitFor({ state: "detached" });
    }
    await screen.page.getByRole("button", { name: "Settings", exact: true }).click();
    for (const page of ["Profile", "Appearance", "Notifications", "Privacy", "Sessions", "Account"]) {
      await screen.dialog.getByRole("button", { name: page, exact: true }).click();
      await screen.dialog.getByRole("heading", { name: page, exact: true }).waitFor();
      await fits(page);
    }
  },
);

scenario("on a touch screen a message's menu opens by a long press", async (world) => {
  const { anna, group } = await team(world);
  const screen = await world.enter(anna, {
    viewport: { width: 360, height: 740 },
    hasTouch: true,
    isMobile: true,
    hash: `#/c/${group}`,
  });
  await screen.sent("The beans are out").waitFor();
  // A long press arrives at the page as the browser's own wish for a context menu.
  await screen
    .sent("The beans are out")
    .locator(".text")
    .dispatchEvent("contextmenu", { clientX: 120, clientY: 300 });
  await screen.page.getByRole("menuitem", { name: "Reply", exact: true }).click();
  await screen.page.getByText("Reply to yourself").waitFor();
});

scenario("on a wide screen list, conversation and panel stand side by side", async (world) => {
  const { anna, group } = await team(world);
  const screen = await world.enter(anna, { viewport: { width: 2560, height: 1440 }, hash: `#/c/${group}` });
  await screen.sent("The beans are out").waitFor();
  await screen.page.getByRole("button", { name: "Members", exact: true }).click();
  const panel = screen.page.getByRole("complementary", { name: "Members" });
  await panel.getByText("@ben").waitFor();
  assert.ok((await screen.overflow()) <= 0);
  const [list, log, side] = await Promise.all(
    [screen.page.getByRole("complementary", { name: "Sidebar" }), screen.log, panel].map((one) =>
      one.boundingBox(),
    ),
  );
  assert.ok(list.x + list.width <= log.x + 1 && log.x + log.width <= side.x + 1, "they overlap");
  // Lines that are too long cannot be read.
  const text = await screen.sent("The beans are out").boundingBox();
  assert.ok(text.width < 1200, `a line of ${text.width} pixels`);
});

for (const theme of ["light", "dark"]) {
  scenario(`the theme follows the system: ${theme}`, async (world) => {
    const { anna, group } = await team(world);
    const screen = await world.enter(anna, { colorScheme: theme, hash: `#/c/${group}` });
    const lightness = () =>
      screen.page.evaluate(() => {
        const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const filled = [document.body, document.documentElement]
          .map((element) => getComputedStyle(element).backgroundColor)
          .find((colour) => colour !== "rgba(0, 0, 0, 0)");
        context.fillStyle = filled;
        context.fillRect(0, 0, 1, 1);
        return context.getImageData(0, 0, 1, 1).data[1];
      });
    assert.equal((await lightness()) > 128, theme === "light");

    // What one chooses oneself goes before, on every device, and is there at once after a reload.
    const other = theme === "light" ? "Dark" : "Light";
    await screen.page.getByRole("button", { name: "Settings", exact: true }).click();
    await screen.dialog.getByRole("button", { name: "Appearance" }).click();
    await screen.dialog.getByText(other, { exact: true }).click();
    await screen.page.waitForFunction(
      (name) => document.documentElement.dataset.theme === name,
      other.toLowerCase(),
    );
    assert.equal((await lightness()) > 128, theme !== "light");
    await screen.page.reload();
    await screen.connected();
    assert.equal((await lightness()) > 128, theme !== "light");
  });
}

scenario("the first visit loads less than 200 kB, and every file is compressed", async (world) => {
  world.accept(/status of 401/);
  const context = await world.context();
  const loads = [];
  context.on("requestfinished", (request) => loads.push(request));
  const screen = await world.visit(context);
  await screen.page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
  await screen.page.waitForLoadState("networkidle");
  let total = 0;
  for (const request of loads) {
    const sizes = await request.sizes();
    total += sizes.responseBodySize + sizes.responseHeadersSize;
    const headers = await (await request.response()).allHeaders();
    if (sizes.responseBodySize > 1500)
      assert.ok(headers["content-encoding"], `${request.url()} is not compressed`);
  }
  assert.ok(total > 10_000, "something was loaded");
  assert.ok(total < budget_bytes, `${total} bytes`);
  console.log(`the first visit loads ${total} bytes in ${loads.length} answers`);
});
