// Text that wants to be more than text: shown as it is, breaking neither the page nor the lines around it.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

const override = "\u202e";
const scripts = [
  "<script>alert(1)</script>",
  '<img src=x onerror="alert(2)">',
  '"><svg onload=alert(3)>',
  "{{constructor.constructor('alert(4)')()}}",
  "</textarea><script>alert(5)</script>",
];
const links = [
  "javascript:alert(6)",
  "[click](javascript:alert(7))",
  "<javascript:alert(8)>",
  "[data](data:text/html,<script>alert(9)</script>)",
  "vbscript:msgbox(10)",
];
const shapes = {
  word: `begin${"w".repeat(7_990)}end`,
  marks: `Z${"\u0335\u0321\u0301\u0300".repeat(5)}algo`,
  family: "family 👨‍👩‍👧‍👦👩🏽‍🚀🏳️‍🌈🇩🇪❤️‍🔥",
  bidi: `${override}gnp.exe${override} \u2066\u2067\u202a mixed`,
  lines: Array.from({ length: 60 }, (_, line) => `line ${line}`).join("\n"),
  fence: `\`\`\`\n${"x".repeat(500)}\n${"</pre><script>alert(11)</script>"}`,
  nested: `${">".repeat(200)} ${"*".repeat(400)}${"[".repeat(400)} deep`,
  ticks: "`".repeat(3_000),
};

async function seed(world) {
  const name = `Mallory <b>${"M".repeat(30)}</b>`;
  const anna = await world.register("anna");
  const mallory = await world.register("mallory", {
    name,
    about: '<script>alert("about")</script>',
    hue: 300,
  });
  const title = `<i>${"Title".repeat(12)}</i>`;
  const topic = `<img src=x onerror=alert(12)> ${"topic".repeat(60)}`;
  const group = await mallory.create(title, { handle: "title", topic, members: [anna.id] });
  for (const text of [...scripts, ...links, ...Object.values(shapes)]) await mallory.say(group, text);
  await mallory.say(group, "that was all");
  const direct = await mallory.direct(anna);
  await mallory.say(direct, `@anna ${scripts[0]} ${shapes.word.slice(0, 500)}`);
  return { anna, mallory, group, direct, name, title };
}

/** Every message of the open conversation, by scrolling over it: text, addresses of links, and the tags in it. */
async function everything(screen) {
  const found = new Map();
  const collect = async () => {
    const now = await screen.log.getByRole("article").evaluateAll((rows) =>
      rows.map((row) => [
        row.dataset.seq,
        {
          text: row.querySelector(".text")?.textContent,
          links: [...row.querySelectorAll(".text a")].map((link) => link.getAttribute("href")),
          tags: [...row.querySelectorAll(".text *")].map((element) => element.localName),
        },
      ]),
    );
    for (const [seq, row] of now) found.set(seq, row);
  };
  await screen.log.press("End");
  await screen.sent("that was all").waitFor();
  await screen.log.hover();
  await collect();
  let steps = 0;
  while (!(await screen.log.getByText("This is the beginning").isVisible())) {
    steps += 1;
    assert.ok(steps < 500, "scrolling up leads nowhere");
    await screen.page.mouse.wheel(0, -500);
    await screen.page.evaluate(
      () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
    );
    await screen.settled();
    await collect();
    assert.ok((await screen.overflow()) <= 0, "the page is wider than its window");
  }
  return [...found.values()];
}

scenario("hostile messages are shown literally, and run nothing", async (world) => {
  const { anna, group } = await seed(world);
  const screen = await world.enter(anna, { hash: `#/c/${group}` });
  await screen.settled();
  const rows = await everything(screen);
  const texts = rows.map((row) => row.text);
  for (const text of [...scripts, links[0], links[4], shapes.word, shapes.marks, shapes.family]) {
    assert.ok(texts.includes(text), `shown otherwise: ${text.slice(0, 80)}`);
  }
  assert.equal(rows.length, scripts.length + links.length + Object.keys(shapes).length + 1);
  for (const { links: addresses, tags } of rows) {
    for (const address of addresses) assert.match(address, /^(https?:|mailto:|#)/);
    for (const tag of tags)
      assert.ok(!["script", "img", "svg", "iframe", "style", "object"].includes(tag), tag);
  }
});

for (const width of [360, 1280]) {
  scenario(`hostile names and long words break no line at ${width} pixels`, async (world) => {
    const { anna, mallory, group, direct, name } = await seed(world);
    const screen = await world.enter(anna, { viewport: { width, height: 740 } });
    const fits = async (where) =>
      assert.ok((await screen.overflow()) <= 0, `${where} is wider than the window`);
    await screen.row(name).first().waitFor();
    await fits("the list");
    await screen.go(group);
    await screen.message(scripts[0]).waitFor();
    await everything(screen);
    await screen.chooseForConversation("Details");
    await screen.page.getByRole("region", { name: "Details" }).waitFor();
    await fits("the details");
    await screen.page.getByRole("button", { name: "Close panel" }).click();
    await screen.page.getByRole("button", { name: "Members", exact: true }).click();
    await screen.page.getByText(`@${mallory.handle}`).waitFor();
    await fits("the members");
    await screen.page.getByRole("button", { name: "Close panel" }).click();
    await screen.page.getByRole("button", { name: "Search", exact: true }).click();
    await screen.page.getByRole("searchbox", { name: "Search messages" }).fill("alert");
    await screen.page.getByRole("list", { name: "Results" }).getByRole("link").first().waitFor();
    await fits("the search");
    await screen.page.getByRole("button", { name: "Close panel" }).click();
    await screen.go(direct);
    await screen.message(scripts[0]).waitFor();
    await fits("the direct conversation");
    await screen.composer.fill(shapes.word);
    await fits("the composer");
    await screen.composer.press("Enter");
    await screen.sent(shapes.word).waitFor();
    await fits("one's own message");
  });
}

scenario("an override of the writing direction ends with the name it is in", async (world) => {
  const anna = await world.register("anna");
  const ben = await world.register("ben");
  const group = await anna.create("Files", { members: [ben.id] });
  // What the server does not refuse, the page must contain.
  const names = await Promise.all(
    [`${override}txt.exe`, `\u2067gpj.exe`].map((name) =>
      ben.command({ change_profile: { name } }).then(
        () => name,
        () => undefined,
      ),
    ),
  );
  await ben.say(group, `${override}reversed`);
  const screen = await world.enter(anna, { hash: `#/c/${group}` });
  await screen.sent("reversed").waitFor();
  const isolated = await screen.sent("reversed").evaluate((row) => {
    const whole = (element) => /isolate|plaintext/.test(getComputedStyle(element).unicodeBidi);
    const ancestors = (element, list = []) =>
      element === row ? list : ancestors(element.parentElement, [...list, element]);
    return [".author", ".text"].map((part) => {
      const deepest = [...row.querySelectorAll(`${part}, ${part} *`)].at(-1);
      return ancestors(deepest).some(whole);
    });
  });
  assert.deepEqual(isolated, [true, true], `names: ${names}`);
  const time = screen.sent("reversed").locator("time").first();
  assert.match(await time.textContent(), /^\d\d:\d\d$/);
});
