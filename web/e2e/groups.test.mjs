// Groups and channels: making, finding, joining, roles, mentions, invitations, leaving.
import assert from "node:assert/strict";
import { password } from "./support/account.mjs";
import { scenario } from "./support/scenario.mjs";

async function people(world, ...handles) {
  return Promise.all(handles.map((handle) => world.register(handle)));
}

scenario("a public group is made, found, joined and left", async (world) => {
  const [anna, ben] = await people(world, "anna", "ben");
  const [annas, bens] = await Promise.all([world.enter(anna), world.enter(ben)]);
  await annas.begin("Create a group or channel");
  await annas.dialog.getByRole("textbox", { name: "Name" }).fill("Garden");
  await annas.dialog.getByRole("textbox", { name: /^Topic/ }).fill("What grows where");
  await annas.dialog.getByRole("radio", { name: /^Public/ }).check();
  await annas.dialog.getByRole("button", { name: "Create group" }).click();
  await annas.heading("Garden").waitFor();
  await annas.say("The beans are out");

  await bens.begin("Find public conversations");
  await bens.dialog.getByRole("searchbox", { name: "Name or topic" }).fill("grows");
  await bens.dialog.getByRole("button", { name: "Join Garden" }).click();
  await bens.heading("Garden").waitFor();
  await bens.sent("The beans are out").waitFor();
  await annas.log.getByText("ben joined").waitFor();
  await bens.say("Mine too");
  await annas.sent("Mine too").waitFor();

  await bens.chooseForConversation("Leave");
  await bens.dialog.getByRole("button", { name: "Leave", exact: true }).click();
  await bens.row("Garden").waitFor({ state: "detached" });
  await annas.log.getByText("ben left").waitFor();
  await annas.page.locator(".under", { hasText: "1 member" }).waitFor();
});

scenario("roles change what one may do, at once", async (world) => {
  const [anna, ben, cleo] = await people(world, "anna", "ben", "cleo");
  const group = await anna.create("Garden", { members: [ben.id, cleo.id] });
  const hash = `#/c/${group}`;
  const [annas, bens] = await Promise.all([world.enter(anna, { hash }), world.enter(ben, { hash })]);
  for (const screen of [annas, bens])
    await screen.page.getByRole("button", { name: "Members", exact: true }).click();

  const member = (screen, name) => screen.page.locator(".member").filter({ hasText: `@${name}` });
  await bens.page.getByRole("button", { name: "Actions for cleo" }).click();
  await bens.page.getByRole("menuitem", { name: "Write to" }).waitFor();
  assert.equal(await bens.page.getByRole("menuitem", { name: "Remove" }).count(), 0);
  await bens.page.keyboard.press("Escape");

  await annas.page.getByRole("button", { name: "Actions for ben" }).click();
  await annas.page.getByRole("menuitem", { name: "Make admin" }).click();
  await member(bens, "ben").getByText("admin").waitFor();
  await bens.log.getByText("anna made you an admin").waitFor();

  await bens.page.getByRole("button", { name: "Actions for cleo" }).click();
  await bens.page.getByRole("menuitem", { name: "Remove", exact: true }).click();
  await bens.dialog.getByRole("button", { name: "Remove", exact: true }).click();
  await member(annas, "cleo").waitFor({ state: "detached" });
  await annas.log.getByText("ben removed cleo").waitFor();
});

scenario("who is removed sees the conversation go, and nothing that comes after", async (world) => {
  const [anna, ben] = await people(world, "anna", "ben");
  const group = await anna.create("Garden", { public: false, members: [ben.id] });
  const bens = await world.enter(ben, { hash: `#/c/${group}` });
  await anna.say(group, "before");
  await bens.sent("before").waitFor();
  await anna.command({ remove_member: { conversation: group, user: ben.id } });
  await anna.say(group, "after");
  await bens.page.getByText("There is nothing here").waitFor();
  assert.equal(await bens.row("Garden").count(), 0);
  assert.equal(await bens.page.getByText("after", { exact: true }).count(), 0);
});

scenario("a mention is counted until it is seen", async (world) => {
  const [anna, ben] = await people(world, "anna", "ben");
  const group = await anna.create("Garden", { members: [ben.id] });
  const [annas, bens] = await Promise.all([
    world.enter(anna, { hash: `#/c/${group}` }),
    world.enter(ben, { hash: "#/c/1" }),
  ]);
  await annas.composer.pressSequentially("look @be");
  await annas.page.getByRole("option", { name: /ben/ }).waitFor();
  await annas.composer.press("Enter");
  await annas.composer.pressSequentially("here");
  await annas.composer.press("Enter");
  await annas.sent("look @ben here").waitFor();

  await bens.row("Garden").getByText("1 mention").waitFor({ state: "attached" });
  await bens.page.waitForFunction(() => document.title.includes("1"));
  await bens.open("Garden");
  await bens.sent("look @ben here").waitFor();
  await bens.row("Garden").getByText("1 mention").waitFor({ state: "detached" });
});

scenario("in a channel only admins post, and everybody else is told why not", async (world) => {
  const [anna, ben] = await people(world, "anna", "ben");
  const channel = await anna.create("News", { kind: "channel" });
  await ben.join(channel);
  const [annas, bens] = await Promise.all([
    world.enter(anna, { hash: `#/c/${channel}` }),
    world.enter(ben, { hash: `#/c/${channel}` }),
  ]);
  await bens.page.getByText("Only admins post in this channel.").waitFor();
  assert.equal(await bens.composer.count(), 0);
  await annas.say("We open at nine");
  await bens.sent("We open at nine").waitFor();

  await anna.command({ set_role: { conversation: channel, user: ben.id, role: "admin" } });
  await bens.composer.waitFor();
  await bens.say("and close at five");
  await annas.sent("and close at five").waitFor();
});

scenario("a link brings a newcomer into a private group, by way of an account", async (world) => {
  world.accept(/status of 40[14]/);
  const [anna] = await people(world, "anna");
  const group = await anna.create("Cellar", { public: false });
  await anna.say(group, "mind the step");
  const annas = await world.enter(anna, { hash: `#/c/${group}` });
  await annas.chooseForConversation("Invitation links");
  await annas.dialog.getByRole("button", { name: "Create link" }).click();
  const link = new URL(await annas.dialog.getByRole("textbox", { name: "Invitation link" }).inputValue());

  const stranger = await world.visit(await world.context(), link.hash);
  await stranger.page.getByText("You have been invited").waitFor();
  await stranger.door("dora", password, "Create account");
  await stranger.connected();
  await stranger.open("Cellar");
  await stranger.sent("mind the step").waitFor();
  await annas.log.getByText("dora joined by invitation").waitFor();

  // Who is signed in already only has to follow the link.
  const [ben] = await people(world, "ben");
  const bens = await world.enter(ben, { hash: link.hash });
  await bens.heading("Cellar").waitFor();
  await bens.sent("mind the step").waitFor();
});
