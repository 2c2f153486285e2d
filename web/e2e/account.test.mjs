// Making an account, leaving it, and coming back.
import assert from "node:assert/strict";
import { password } from "./support/account.mjs";
import { scenario } from "./support/scenario.mjs";

// The browser itself notes each refused request on the console.
const refused = /status of 401/;

scenario("somebody registers, signs out and signs in again", async (world) => {
  world.accept(refused);
  const anna = await world.visit(await world.context());
  await anna.register("anna", password);
  await anna.connected();
  assert.equal(await anna.page.locator(".me .name").textContent(), "anna");

  await anna.signOut();
  await anna.page.getByRole("heading", { name: "Sign in to Chinwag" }).waitFor();
  await anna.signIn("Anna", password);
  await anna.connected();
  // Signing out had the browser clear everything of this site; what is kept for sending must work again.
  await anna.open("Everyone");
  await anna.say("back again");
  await anna.say("and still here");

  await anna.page.reload();
  await anna.connected();
  assert.equal((await anna.page.context().cookies()).length, 1);
  assert.equal(await anna.page.evaluate(() => document.cookie), "", "no script can read the session");
});

scenario("a wrong password is said, and what was typed stays", async (world) => {
  world.accept(refused);
  await world.register("anna");
  const anna = await world.visit(await world.context());
  await anna.signIn("anna", "wrong horse battery");
  await anna.page
    .getByRole("alert")
    .filter({ hasText: /password/i })
    .waitFor();
  assert.equal(await anna.page.getByRole("textbox", { name: "Name" }).inputValue(), "anna");
  await anna.signIn("anna", password);
  await anna.connected();
});

scenario(
  "a name that is taken, one that may not be, and a short password are refused at their field",
  async (world) => {
    world.accept(refused, /status of 40[09]/);
    await world.register("anna");
    const page = await world.visit(await world.context());
    const name = page.page.getByRole("textbox", { name: "Name" });
    const secret = page.page.getByRole("textbox", { name: "Password" });
    const invalid = (field) => field.and(page.page.locator('[aria-invalid="true"]')).waitFor();

    await page.register("ANNA", password);
    await invalid(name);
    await page.door("two words", password, "Create account");
    await invalid(name);
    await page.door("ben", "short", "Create account");
    await invalid(secret);
    await page.door("ben", password, "Create account");
    await page.connected();
  },
);

scenario("the printed link makes the first administrator", async (world) => {
  world.accept(refused);
  const link = new URL(world.server.setupLink);
  const owner = await world.visit(await world.context(), link.hash);
  await owner.page.getByRole("heading", { name: "Set up this server" }).waitFor();
  await owner.door("owner", password, "Create account");
  await owner.connected();
  await owner.page.getByRole("button", { name: "Settings", exact: true }).click();
  await owner.dialog.getByRole("button", { name: "Users" }).click();
  await owner.dialog.getByText("@owner").waitFor();
});

scenario("ending a session from another device signs it out at once", async (world) => {
  world.accept(refused);
  const account = await world.register("anna");
  const desk = await world.enter(account);
  const phone = await world.visit(await world.context());
  await phone.signIn("anna", password);
  await phone.connected();

  await desk.page.getByRole("button", { name: "Settings", exact: true }).click();
  await desk.dialog.getByRole("button", { name: "Sessions" }).click();
  await desk.dialog.getByRole("button", { name: /^End session/ }).click();
  await phone.page
    .getByText(/signed out/i)
    .first()
    .waitFor();
  await phone.page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
});

scenario("an app password is made beside the sessions, shown once, and taken back", async (world) => {
  const account = await world.register("anna");
  // As narrow as a phone.
  const anna = await world.enter(account, { viewport: { width: 390, height: 844 } });
  await anna.page.getByRole("button", { name: "Settings", exact: true }).click();
  await anna.dialog.getByRole("button", { name: "Sessions" }).click();
  await anna.dialog.getByLabel("Door").selectOption("tcp_json");
  await anna.dialog.getByLabel(/^Name/).fill("old laptop");
  await anna.dialog.getByRole("button", { name: "Make an app password" }).click();
  const secret = await anna.dialog.locator("code").textContent();
  assert.match(secret, /^([a-z2-9]{4}-){5}[a-z2-9]{4}$/);
  const list = anna.dialog.getByRole("list", { name: "App passwords" });
  await list.getByText("old laptop").waitFor();
  await list.getByText("never used").waitFor();
  const wider = await anna.dialog.evaluate((dialog) =>
    [...dialog.querySelectorAll("section *")].some((one) => one.getBoundingClientRect().right > innerWidth),
  );
  assert.ok(!wider, "something is wider than the screen");
  const { app_passwords } = await account.query({ app_passwords: {} });
  assert.deepEqual(
    app_passwords.map(({ door, name }) => [door, name]),
    [["tcp_json", "old laptop"]],
  );
  await list.getByRole("button", { name: "Revoke old laptop" }).click();
  await list.waitFor({ state: "detached" });
  assert.equal(await anna.dialog.getByText(secret).count(), 0);
});

scenario("somebody from another system is asked to change his password until he does", async (world) => {
  world.accept(refused);
  const user = { _User__username: "alice", _User__password: "pw", _User__email: "alice@example.org" };
  await world.server.import({ user_list: [user], message_list: [], notification_list: [] });
  const alice = await world.visit(await world.context());
  await alice.signIn("alice", "pw");
  await alice.connected();
  await alice.page.getByText("Your password came from another system").waitFor();
  await alice.page.reload();
  await alice.connected();
  await alice.page.getByRole("button", { name: "Choose a new one" }).click();
  await alice.dialog.getByLabel("Present password").fill("pw");
  await alice.dialog.getByLabel("New password").fill("password1");
  await alice.dialog.getByRole("button", { name: "Change password" }).click();
  await alice.dialog.getByText("one of the first that anybody would guess").waitFor();
  assert.equal(await alice.dialog.getByLabel("New password").getAttribute("aria-invalid"), "true");
  await alice.dialog.getByLabel("New password").fill(password);
  await alice.dialog.getByRole("button", { name: "Change password" }).click();
  await alice.page.getByText("Your password came from another system").waitFor({ state: "detached" });
  await alice.page.reload();
  await alice.connected();
  assert.equal(await alice.page.getByText("Your password came from another system").count(), 0);
});
