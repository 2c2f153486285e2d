// Draws the pictures of the README: a made-up team on a server of its own, seen by one of its members.
// `CHINWAG_BIN=target/debug/chinwag node web/e2e/screenshots.mjs [FOLDER]`, by default into docs/images.
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { Account } from "./support/account.mjs";
import { Screen } from "./support/screen.mjs";
import { Server } from "./support/server.mjs";

const folder = process.argv[2] ?? new URL("../../docs/images", import.meta.url).pathname;
const desk = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

const team = [
  ["mira", "Mira Lindqvist", 320, "Bakes on Thursdays, decides on Fridays"],
  ["tobias", "Tobias Okafor", 230, "Ovens and everything hot"],
  ["yuki", "Yuki Tanaka", 165, "Numbers, and the weather"],
  ["amara", "Amara Diallo", 40, "The shop in Mill Street"],
  ["leo", "Léo Marchand", 12, "Deliveries. Call, I am on the bike"],
  ["priya", "Priya Raman", 290, "The website and its lists"],
  ["sam", "Sam Whitfield", 105, ""],
  ["noor", "Noor Haddad", 345, ""],
];

/** Whenever it is drawn, it is a quarter past ten or so in the pictures. */
function morning() {
  const ahead = ((10 - new Date().getUTCHours() + 36) % 24) - 12;
  return ahead === 0 ? "Etc/UTC" : `Etc/GMT${ahead > 0 ? "-" : "+"}${Math.abs(ahead)}`;
}

async function people(server) {
  // The first of them follows the printed link, and so is the administrator.
  const token = server.setupLink.split("/").at(-1);
  const list = await Promise.all(
    team.map(async ([handle, name, hue, about], at) => {
      const profile = { name, hue, ...(about ? { about } : {}) };
      return [handle, await Account.register(server, handle, profile, at === 0 ? token : undefined)];
    }),
  );
  const all = Object.fromEntries(list);
  await all.mira.command({ change_server: { name: "Mill Street Bakery" } });
  return all;
}

/** Says a list of things in order: `[who, text, more]`; their numbers. */
async function talk(conversation, lines) {
  const seqs = [];
  for (const [who, text, { replyTo, react = [], ...more } = {}] of lines) {
    const seq = await who.say(conversation, text, {
      ...more,
      ...(replyTo === undefined ? {} : { reply_to: seqs[replyTo] }),
    });
    for (const [other, emoji] of react) await other.command({ react: { conversation, message: seq, emoji } });
    seqs.push(seq);
  }
  return seqs;
}

async function seed(server) {
  const all = await people(server);
  const { mira, tobias, yuki, amara, leo, priya, sam, noor } = all;
  const ids = (...list) => list.map((one) => one.id);

  await amara.say(1, "Good morning from Mill Street! The new sign is up.", {});
  await sam.say(1, "It looks wonderful. I could read it from the bridge.");

  const news = await mira.create("News", {
    kind: "channel",
    topic: "What everybody should know, and nothing else",
    members: ids(tobias, yuki, amara, leo, priya, sam, noor),
  });
  await mira.say(news, "We bake on Monday as well from December on. Thank you all for making that possible.");
  await mira.say(
    news,
    "The winter list is out: rye with walnut, buckwheat, and the cardamom knots are back.",
  );

  const suppliers = await yuki.create("Suppliers", { public: false, members: ids(mira, amara, leo) });
  await talk(suppliers, [
    [yuki, "Flour went up four percent. I asked for the old price until March."],
    [leo, "The mill in Ardal delivers on Saturdays now, by the way"],
    [yuki, "@mira they agreed. Shall I sign?"],
  ]);

  const website = await priya.create("Website", {
    topic: "Orders, opening hours, and why it is slow again",
    members: ids(mira, tobias, yuki, sam),
  });
  await talk(website, [
    [priya, "The order form remembers the last basket now. Try it and tell me what breaks."],
  ]);

  const oven = await tobias.create("Oven room", {
    topic: "The night shift, the new oven, and who has the keys",
    members: ids(mira, yuki, amara, leo, priya, sam),
  });
  const seqs = await talk(oven, [
    [
      tobias,
      "The new oven reaches 260 °C in **eleven minutes**. The old one took forty.",
      {
        react: [
          [mira, "🎉"],
          [yuki, "🎉"],
          [sam, "🎉"],
          [amara, "🔥"],
        ],
      },
    ],
    [tobias, "It is loud, though. Closing the lower vent by a third helps."],
    [yuki, "I wrote down the curve of last night, for the log book:"],
    [yuki, "```\n22:00   24 °C\n22:05  148 °C\n22:11  260 °C   steam on\n22:19  251 °C   first loaves\n```"],
    [mira, "That is lovely. Can we do the rye at 240 then?", { replyTo: 0 }],
    [
      tobias,
      "Yes. Twenty minutes less than before, and the crust is better.",
      {
        react: [
          [mira, "👍"],
          [leo, "😋"],
        ],
      },
    ],
    [amara, "Customers asked for exactly that crust all week. See https://example.org/crust-survey"],
    [leo, "Who has the keys tomorrow? I start at four."],
  ]);
  await talk(oven, [
    [priya, "I have them", { thread: seqs[7] }],
    [leo, "Perfect, I will ring twice", { thread: seqs[7] }],
  ]);
  await tobias.command({ pin: { conversation: oven, message: seqs[1] } });
  await talk(oven, [
    [mira, "Then it is settled: rye at 240 from tonight. Thank you, both of you. ☕️"],
    [sam, "@mira shall I print new labels?", { react: [[mira, "👍"]] }],
  ]);

  const direct = await mira.direct(yuki);
  await talk(direct, [
    [yuki, "Snow on Thursday, they say. Should we move the market stall?"],
    [mira, "Into the hall, if they let us. I will ask."],
  ]);
  await talk(await mira.direct(amara), [
    [amara, "Two more people asked about Monday. It was the right decision!"],
  ]);
  await talk(await mira.direct(leo), [
    [mira, "Did the brakes get fixed?"],
    [leo, "Like new 🚲"],
  ]);
  await talk(await mira.direct(noor), [[noor, "I can start on the first. See you then!"]]);
  return { ...all, oven, news, suppliers, website, direct };
}

async function page(browser, server, account, options, hash = "") {
  const context = await browser.newContext({
    locale: "en-GB",
    timezoneId: morning(),
    deviceScaleFactor: 1,
    ...options,
  });
  if (account) {
    const cookie = { domain: "127.0.0.1", path: "/", secure: true, httpOnly: true, sameSite: "Strict" };
    await context.addCookies([{ name: "__Host-chinwag", value: account.token, ...cookie }]);
  }
  const screen = new Screen(await context.newPage(), server);
  await screen.page.goto(`${server.origin}/${hash}`);
  if (account) await screen.connected();
  return screen;
}

async function draw(screen, name) {
  await screen.page.evaluate(() => document.fonts.ready);
  await screen.page.evaluate(() =>
    Promise.all(
      document
        .getAnimations()
        .filter((one) => one.effect.getComputedTiming().iterations !== Number.POSITIVE_INFINITY)
        .map((one) => one.finished.catch(() => undefined)),
    ),
  );
  const path = join(folder, `${name}.png`);
  await screen.page.screenshot({ path, caret: "hide" });
  console.log(`${path}: ${Math.round((await stat(path)).size / 1000)} kB`);
}

async function conversation(browser, server, world, colorScheme) {
  const screen = await page(browser, server, world.mira, { ...desk, colorScheme }, `#/c/${world.oven}`);
  await screen.sent("shall I print new labels?").waitFor();
  await screen.page.getByRole("button", { name: "Members", exact: true }).click();
  await screen.page.getByRole("complementary", { name: "Members" }).getByText("@leo").waitFor();
  await screen.page.getByRole("heading", { name: /^Online 5/ }).waitFor();
  await screen.page.getByRole("button", { name: "Jump to latest" }).waitFor({ state: "detached" });
  await draw(screen, `conversation-${colorScheme}`);
  return screen;
}

async function main() {
  await mkdir(folder, { recursive: true });
  const server = await Server.start();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const world = await seed(server);
    const door = await page(browser, server, undefined, { ...desk, colorScheme: "light" });
    await door.page.getByRole("heading", { name: "Sign in to Mill Street Bakery" }).waitFor();
    await draw(door, "sign-in");

    // Who is online, besides the one whose screen is drawn.
    const others = await Promise.all(
      [world.tobias, world.yuki, world.amara, world.priya].map((one) => page(browser, server, one, desk)),
    );
    const screen = await conversation(browser, server, world, "light");
    await screen.page.getByRole("button", { name: "Search", exact: true }).click();
    await screen.page.getByRole("searchbox", { name: "Search messages" }).fill("rye");
    await screen.page.getByRole("list", { name: "Results" }).getByRole("link").first().waitFor();
    await draw(screen, "search");
    await screen.page.keyboard.press("Escape");
    await screen.page.getByRole("button", { name: "Settings", exact: true }).click();
    await screen.dialog.getByRole("heading", { name: "Profile" }).waitFor();
    await draw(screen, "settings");
    await screen.page.context().close();
    await (await conversation(browser, server, world, "dark")).page.context().close();

    const hand = await page(
      browser,
      server,
      world.mira,
      { ...phone, colorScheme: "light" },
      `#/c/${world.oven}`,
    );
    await hand.sent("shall I print new labels?").waitFor();
    await others[0].go(world.oven);
    await others[0].composer.pressSequentially("Yes p");
    await hand.page.getByText("Tobias Okafor is typing").waitFor();
    await draw(hand, "phone");
  } finally {
    await browser.close();
    await server.remove();
  }
}

await main();
