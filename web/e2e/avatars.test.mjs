// Pictures of people and groups: chosen in the settings, shown wherever there were initials, and taken away again.
import assert from "node:assert/strict";
import { picture } from "./support/picture.mjs";
import { scenario } from "./support/scenario.mjs";

const file = (name, buffer) => ({ name, mimeType: "image/png", buffer });

/** The size of the picture in here, once it is there. */
async function shown(place) {
  const image = place.locator(".avatar img");
  await image.waitFor();
  return image.evaluate(async (image) => {
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  });
}

scenario(
  "a picture takes the place of one's initials, on every screen, until it is removed",
  async (world) => {
    const { anna, annas, bens, conversation } = await world.pair();
    await anna.say(conversation, "who am I?");
    await bens.open("Anna Berg");
    await bens.row("Anna Berg").locator(".letters", { hasText: "AB" }).waitFor();

    await annas.page.getByRole("button", { name: "Settings" }).click();
    const dialog = annas.page.getByRole("dialog");
    const chooser = dialog.locator("input[type=file]");
    await chooser.setInputFiles(file("notes.png", Buffer.from("no picture at all")));
    await dialog.getByRole("alert").getByText("This file is not a picture that can be shown.").waitFor();

    // Larger than it is ever shown: it is made small before it goes anywhere.
    await chooser.setInputFiles(file("me.png", picture(2000, 1000)));
    assert.deepEqual(await shown(dialog), [512, 256]);
    assert.equal(await dialog.getByRole("alert").count(), 0);
    for (const place of [
      bens.row("Anna Berg"),
      bens.page.locator("header", { has: bens.heading("Anna Berg") }),
      bens.sent("who am I?"),
      annas.page.locator(".me"),
    ]) {
      assert.deepEqual(await shown(place), [512, 256]);
    }

    await dialog.getByRole("button", { name: "Remove picture" }).click();
    await bens.row("Anna Berg").locator("img").waitFor({ state: "detached" });
    await dialog.locator("img").waitFor({ state: "detached" });
    const choose = dialog.getByRole("button", { name: "Choose a picture" });
    assert.ok(await choose.evaluate((button) => button === document.activeElement));
  },
);

scenario("who may rename a group may give it a picture, and the others are told", async (world) => {
  const { anna, ben, annas, bens } = await world.pair();
  await anna.create("Garden", { public: false, members: [ben.id] });
  await annas.open("Garden");
  await annas.chooseForConversation("Settings");
  const dialog = annas.page.getByRole("dialog");
  await dialog.locator("input[type=file]").setInputFiles(file("tree.png", picture(64, 64, [40, 140, 60])));
  assert.deepEqual(await shown(dialog), [64, 64]);
  assert.deepEqual(await shown(bens.row("Garden")), [64, 64]);
  await bens.open("Garden");
  await bens.page.getByText("Anna Berg chose a picture").waitFor();
});
