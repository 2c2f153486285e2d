// Finding what was said, and only what one may read.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

async function search(screen, text) {
  await screen.page.getByRole("button", { name: "Search", exact: true }).click();
  await screen.page.getByRole("searchbox", { name: "Search messages" }).fill(text);
}

function results(screen) {
  return screen.page.getByRole("list", { name: "Results" }).getByRole("link");
}

scenario("a word is found, and a click leads to it among its neighbours", async (world) => {
  const anna = await world.register("anna");
  const group = await anna.create("Workshop");
  for (let number = 1; number <= 150; number += 1) {
    await anna.say(group, number === 30 ? "the blue kettle leaks" : `remark ${number}`);
  }
  const annas = await world.enter(anna, { hash: `#/c/${group}` });
  await annas.sent("remark 150").waitFor();
  assert.equal(await annas.message("kettle").count(), 0, "it is far above");
  await search(annas, "KETTLE");
  await results(annas).filter({ hasText: "the blue kettle leaks" }).click();
  await annas.sent("the blue kettle leaks").waitFor();
  await annas.sent("remark 29").waitFor();
  await annas.sent("remark 31").waitFor();
  assert.equal(await results(annas).locator("mark").first().textContent(), "kettle");

  await annas.page.getByRole("button", { name: /^Jump to latest/ }).click();
  await annas.sent("remark 150").waitFor();
});

scenario("Chinese and Japanese words are found, short ones too", async (world) => {
  const anna = await world.register("anna");
  const group = await anna.create("旅行");
  await anna.say(group, "我们明天去北京看长城");
  await anna.say(group, "明日は東京で会いましょう");
  const annas = await world.enter(anna, { hash: `#/c/${group}` });
  await search(annas, "北京");
  await results(annas).filter({ hasText: "我们明天去北京看长城" }).waitFor();
  assert.equal(await results(annas).count(), 1);
  await annas.page.getByRole("searchbox", { name: "Search messages" }).fill("東京");
  await results(annas).filter({ hasText: "明日は東京" }).waitFor();
});

scenario("what one may not read is not found", async (world) => {
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const secret = await anna.create("Safe", { public: false });
  await anna.say(secret, "the combination is seashell");
  const late = await anna.create("Late", { history: "from_joining" });
  await anna.say(late, "an early seashell");
  await ben.join(late);
  await anna.say(late, "a late seashell");

  const bens = await world.enter(ben, { hash: `#/c/${late}` });
  await bens.sent("a late seashell").waitFor();
  await search(bens, "seashell");
  await results(bens).filter({ hasText: "a late seashell" }).waitFor();
  assert.equal(await results(bens).count(), 1);
  await bens.page.getByRole("searchbox", { name: "Search messages" }).fill("combination");
  await bens.page.getByText("Nothing found").waitFor();
});
