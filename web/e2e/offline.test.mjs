// Writing without a connection, and a server that dies: nothing is lost, and nothing comes twice.
import assert from "node:assert/strict";
import { scenario } from "./support/scenario.mjs";

// The browser itself notes each attempt to reach a server that is not there.
const unreachable = /net::ERR_|WebSocket connection to/;

async function pair(world) {
  world.accept(unreachable);
  const [anna, ben] = await Promise.all([world.register("anna"), world.register("ben")]);
  const conversation = await anna.direct(ben);
  return { anna, ben, conversation, hash: `#/c/${conversation}` };
}

/** A message that came after all others: what is to be seen before it has been seen. */
async function mark(account, conversation, ...screens) {
  await account.say(conversation, "that was all");
  await Promise.all(screens.map((screen) => screen.sent("that was all").waitFor()));
}

scenario("what is written offline waits visibly and is sent once, in order", async (world) => {
  const { anna, ben, conversation, hash } = await pair(world);
  const context = await world.context(anna);
  const annas = await world.visit(context, hash);
  await annas.connected();
  const bens = await world.enter(ben, { hash });
  await annas.say("before the tunnel");

  await context.setOffline(true);
  await annas.cutOff();
  await annas.write("in the tunnel");
  await annas.write("still in the tunnel");
  await annas.message("in the tunnel").first().getByLabel("Will be sent when you are back online").waitFor();
  assert.equal(await annas.sent("in the tunnel").count(), 0);
  await annas.page.getByText("You are offline.").waitFor();
  await ben.say(conversation, "where are you?");

  await context.setOffline(false);
  await bens.sent("still in the tunnel").waitFor();
  await annas.sent("still in the tunnel").waitFor();
  await annas.sent("where are you?").waitFor();
  await mark(ben, conversation, annas, bens);
  const texts = [
    "before the tunnel",
    "where are you?",
    "in the tunnel",
    "still in the tunnel",
    "that was all",
  ];
  assert.deepEqual(await anna.texts(conversation), texts);
  for (const screen of [annas, bens]) assert.equal(await screen.message("in the tunnel").count(), 2);
});

scenario("what waits is still there after a reload, and is sent once", async (world) => {
  const { anna, ben, conversation, hash } = await pair(world);
  const context = await world.context(anna);
  const annas = await world.visit(context, hash);
  await annas.connected();
  await annas.say("before the crash");
  await annas.remembered();
  await world.server.crash();
  await annas.cutOff();
  await annas.write("first without a server");
  await annas.write("second without a server");

  // The page itself comes from the server, so the browser can reload it only when the server is back: until the
  // page connects, what waits is shown as waiting.
  await annas.page.close();
  await world.server.restart();
  let connect = () => {};
  const held = new Promise((resolve) => {
    connect = resolve;
  });
  await context.routeWebSocket(/\/api\/ws$/, async (socket) => {
    await held;
    socket.connectToServer();
  });
  const again = await world.visit(context, hash);
  await again.message("first without a server").waitFor();
  await again.message("second without a server").waitFor();
  assert.equal(await again.sent("without a server").count(), 0);
  connect();
  await again.sent("second without a server").waitFor();
  await mark(ben, conversation, again);
  assert.equal(await again.message("without a server").count(), 2);
  assert.deepEqual(await anna.texts(conversation), [
    "before the crash",
    "first without a server",
    "second without a server",
    "that was all",
  ]);
});

scenario(
  "after kill -9 and a restart the pages come back by themselves, with nothing lost or doubled",
  async (world) => {
    const { anna, ben, conversation, hash } = await pair(world);
    const [annas, bens] = await Promise.all([world.enter(anna, { hash }), world.enter(ben, { hash })]);
    // Written as fast as the keys allow, while the server dies: some were sent, some were on their way, some wait.
    const texts = Array.from({ length: 12 }, (_, number) => `line ${number + 10}`);
    for (const text of texts.slice(0, 6)) await annas.write(text);
    const killed = world.server.crash();
    for (const text of texts.slice(6)) await annas.write(text);
    await killed;
    await bens.cutOff();
    await bens.write("and one of Ben's");
    await world.server.restart();

    await Promise.all([annas.connected(), bens.connected()]);
    await annas.sent("line 21").waitFor();
    await bens.sent("line 21").waitFor();
    await annas.sent("and one of Ben's").waitFor();
    await mark(ben, conversation, annas, bens);
    const recorded = await anna.texts(conversation);
    assert.deepEqual(
      recorded.filter((text) => text.startsWith("line")),
      texts,
    );
    assert.equal(recorded.filter((text) => text === "and one of Ben's").length, 1);
    for (const screen of [annas, bens]) {
      for (const text of texts) assert.equal(await screen.message(text).count(), 1, text);
    }
  },
);

scenario("a polite end of the server is no end of the session", async (world) => {
  const { anna, ben, hash } = await pair(world);
  const [annas, bens] = await Promise.all([world.enter(anna, { hash }), world.enter(ben, { hash })]);
  await annas.say("before the update");
  await world.server.stop();
  await annas.cutOff();
  await annas.write("during the update");
  await world.server.restart();
  await bens.sent("during the update").waitFor();
  await annas.sent("during the update").waitFor();
});

scenario("a message that the server refuses says why, and can be thrown away", async (world) => {
  const { anna, ben, hash } = await pair(world);
  const context = await world.context(anna);
  const annas = await world.visit(context, hash);
  await annas.connected();
  await context.setOffline(true);
  await annas.cutOff();
  await annas.write("are you there?");
  await ben.command({ block: { user: anna.id } });
  await context.setOffline(false);
  await annas.message("are you there?").getByText("Not sent").waitFor();
  await annas.message("are you there?").getByRole("button", { name: "Discard" }).click();
  await annas.message("are you there?").waitFor({ state: "detached" });
});
