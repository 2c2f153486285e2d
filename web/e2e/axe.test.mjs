// No violation of the accessibility rules that a machine can check, on every page, in both themes and two sizes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { scenario } from "./support/scenario.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const sizes = [
  { width: 1280, height: 800 },
  { width: 360, height: 740 },
];

async function seed(world) {
  // An administrator sees the most.
  const token = world.server.setupLink.split("/").at(-1);
  const anna = await world.register("anna", { name: "Anna Berg", hue: 20 }, token);
  const ben = await world.register("ben", { name: "Ben Okafor", hue: 210 });
  const group = await anna.create("Garden", { topic: "What grows where", members: [ben.id] });
  const root = await anna.say(group, "The **beans** are out, see https://example.org/ and `code`");
  await ben.say(group, "```\nlet it = grow();\n```");
  await ben.say(group, "> quoted\n\n- one\n- two", { reply_to: root });
  await ben.say(group, "in a thread", { thread: root });
  await ben.say(group, "", { attachments: [await ben.upload("plan.txt", Buffer.from("dig, sow"))] });
  await ben.say(group, "look @anna");
  await ben.command({ react: { conversation: group, message: root, emoji: "🎉" } });
  await anna.command({ pin: { conversation: group, message: root } });
  const channel = await ben.create("News", { kind: "channel" });
  await anna.join(channel);
  await ben.say(channel, "We open at nine");
  const direct = await ben.direct(anna);
  await ben.say(direct, "lunch?");
  await ben.say(direct, "or dinner?");
  return { anna, ben, group, channel, direct };
}

/** Fails with what is wrong, where, and how to see it. */
async function check(screen, where) {
  // Half-faded text has half the contrast; what counts is what stays.
  await screen.page.evaluate(() =>
    Promise.all(
      document
        .getAnimations()
        .map((one) =>
          one.playState === "running" &&
          one.effect.getComputedTiming().iterations !== Number.POSITIVE_INFINITY
            ? one.finished.catch(() => {})
            : 0,
        ),
    ),
  );
  const violations = await screen.page.evaluate(async (source) => {
    if (!window.axe) new Function(source)();
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({
      id,
      help,
      nodes: nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`),
    }));
  }, axe);
  assert.deepEqual(violations, [], where);
}

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of sizes) {
    const look = { colorScheme, viewport, bypassCSP: true };
    const title = `${colorScheme}, ${viewport.width} pixels wide`;

    scenario(`the door has no violation: ${title}`, async (world) => {
      world.accept(/status of 401/);
      const screen = await world.visit(await world.context(undefined, look));
      await screen.page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
      await check(screen, "sign in");
      await screen.signIn("nobody", "not my password");
      await screen.page.getByRole("alert").waitFor();
      await check(screen, "a refused sign-in");
      await screen.page.getByRole("button", { name: "Create an account" }).click();
      await check(screen, "create an account");
    });

    scenario(`conversations and panels have no violation: ${title}`, async (world) => {
      const { anna, group, channel, direct } = await seed(world);
      const screen = await world.enter(anna, look);
      await screen.row("Garden").waitFor();
      await check(screen, "the list");
      await screen.go(group);
      await screen.sent("quoted").waitFor();
      await check(screen, "a group");
      await screen.sent("quoted").focus();
      await screen.page.getByRole("toolbar").waitFor();
      await check(screen, "a message's tools");
      await screen.page.getByRole("button", { name: "More actions" }).click();
      await screen.page.getByRole("menu").waitFor();
      await check(screen, "a message's menu");
      await screen.page.keyboard.press("Escape");
      for (const panel of ["Search", "Members"]) {
        await screen.page.getByRole("button", { name: panel, exact: true }).click();
        await screen.page.getByRole("complementary", { name: panel }).waitFor();
        if (panel === "Members") await screen.page.getByText("@ben").waitFor();
        await check(screen, panel);
        await screen.page.getByRole("button", { name: "Close panel" }).click();
      }
      await screen.chooseForConversation("Details");
      await screen.page.getByRole("complementary", { name: "Details" }).waitFor();
      await check(screen, "the details");
      await screen.page
        .getByRole("region", { name: "Details" })
        .getByRole("button", { name: "Pinned messages" })
        .click();
      await screen.page.getByRole("button", { name: "Show in conversation" }).waitFor();
      await check(screen, "the pinned messages");
      await screen.page.getByRole("button", { name: "Close panel" }).click();
      await screen.page.getByRole("button", { name: "1 reply" }).click();
      await screen.page.getByRole("log", { name: "Thread" }).getByText("in a thread").waitFor();
      await check(screen, "a thread");
      await screen.page.getByRole("button", { name: "Close panel" }).click();
      await screen.page.getByRole("button", { name: "Emoji", exact: true }).click();
      await screen.page.getByRole("dialog", { name: "Choose an emoji" }).waitFor();
      await check(screen, "the emoji");
      await screen.page.keyboard.press("Escape");
      await screen.composer.fill("@");
      await screen.page.getByRole("option").first().waitFor();
      await check(screen, "the suggestions");
      await screen.composer.fill("");
      await screen.go(channel);
      await screen.page.getByText("Only admins post in this channel.").waitFor();
      await check(screen, "a channel");
      await screen.go(direct);
      await screen.sent("lunch?").waitFor();
      await check(screen, "a direct conversation");
      await screen.page.evaluate(() => {
        location.hash = "#/c/999";
      });
      await screen.page.getByText("There is nothing here").waitFor();
      await check(screen, "a conversation that is not there");
    });

    scenario(`dialogs and settings have no violation: ${title}`, async (world) => {
      const { anna, group } = await seed(world);
      const screen = await world.enter(anna, look);
      const close = async () => {
        await screen.page.keyboard.press("Escape");
        await screen.dialog.waitFor({ state: "detached" });
      };
      for (const item of ["Write to somebody", "Create a group or channel", "Find public conversations"]) {
        await screen.begin(item);
        await screen.dialog.waitFor();
        await check(screen, item);
        await close();
      }
      await screen.page.keyboard.press("Control+k");
      await screen.page.getByRole("combobox").fill("g");
      await screen.page.getByRole("option").first().waitFor();
      await check(screen, "jump to");
      await close();
      await screen.page.getByRole("button", { name: "Settings", exact: true }).click();
      for (const page of [
        "Profile",
        "Appearance",
        "Notifications",
        "Privacy",
        "Sessions",
        "Account",
        "Users",
        "Server",
      ]) {
        await screen.dialog.getByRole("button", { name: page, exact: true }).click();
        await screen.dialog.getByRole("heading", { name: page, exact: true }).waitFor();
        if (page === "Sessions") {
          await screen.dialog.getByText("this one").waitFor();
          await screen.dialog.getByRole("button", { name: "Make an app password" }).click();
          await screen.dialog.locator("code").waitFor();
        }
        await check(screen, page);
      }
      await close();
      await screen.go(group);
      for (const [item, button] of [
        ["Settings", "Save"],
        ["Invitation links", "Create link"],
        ["Add people", "Add"],
        ["Leave", "Leave"],
      ]) {
        await screen.chooseForConversation(item);
        await screen.dialog.getByRole("button", { name: button, exact: true }).waitFor();
        await check(screen, item);
        await close();
      }
    });
  }
}
