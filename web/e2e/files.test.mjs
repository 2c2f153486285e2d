// Files and calls: what one attaches the other sees and saves; who is called is told, and can decline.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { picture } from "./support/picture.mjs";
import { scenario } from "./support/scenario.mjs";

/** Does to the composer what a person does with a file: pastes or drops it. */
async function give(screen, kind, name, type, text) {
  await screen.composer.evaluate(
    (box, [kind, name, type, text]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], name, { type }));
      const event =
        kind === "paste"
          ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
          : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
      box.dispatchEvent(event);
    },
    [kind, name, type, text],
  );
}

scenario(
  "a picture is shown, another file is saved as it was, and both go with the message",
  async (world) => {
    const { annas, bens } = await world.pair();
    await annas.open("Ben Okafor");
    await annas.page.locator("input[type=file]").setInputFiles([
      { name: "garden.png", mimeType: "image/png", buffer: picture(640, 400) },
      { name: "plan <b>.txt", mimeType: "text/plain", buffer: Buffer.from("dig, sow, wait") },
    ]);
    const chips = annas.page.getByRole("list", { name: "Files to send" });
    await chips.getByText("plan <b>.txt").waitFor();
    await chips.getByText("14 B").waitFor();
    await annas.say("the garden");
    await chips.waitFor({ state: "detached" });

    await bens.open("Anna Berg");
    const image = bens.page.getByRole("img", { name: "garden.png" });
    await image.waitFor();
    await bens.page.waitForFunction(() => {
      const image = document.querySelector(".files img");
      return image?.complete && image.naturalWidth === 640;
    });
    const box = await image.boundingBox();
    assert.ok(box && box.height <= 230 && box.width <= 360, `${box?.width} x ${box?.height}`);
    const [download] = await Promise.all([
      bens.page.waitForEvent("download"),
      bens.page.getByRole("link", { name: /plan/ }).click(),
    ]);
    assert.equal(await readFile(await download.path(), "utf8"), "dig, sow, wait");
  },
);

scenario("files are pasted and dropped, left out again, and sent without a word", async (world) => {
  const { annas, bens, anna, conversation } = await world.pair();
  await annas.open("Ben Okafor");
  await give(annas, "paste", "notes.txt", "text/plain", "pasted");
  await give(annas, "drop", "list.txt", "text/plain", "dropped");
  const chips = annas.page.getByRole("list", { name: "Files to send" });
  await chips.getByRole("button", { name: "Leave out notes.txt" }).click();
  await chips.getByText("notes.txt").waitFor({ state: "detached" });
  await chips.getByText("7 B").waitFor();
  await annas.page.getByRole("button", { name: "Send" }).click();
  await bens.row("Anna Berg").getByText("list.txt").waitFor();
  await bens.open("Anna Berg");
  await bens.page.getByRole("link", { name: "list.txt 7 B" }).waitFor();
  assert.deepEqual(await anna.texts(conversation), [""]);
});

scenario("a deleted message takes its picture along, on every screen", async (world) => {
  const { anna, conversation, bens } = await world.pair();
  const attachments = [await anna.upload("garden.png", picture(64, 64))];
  const seq = await anna.say(conversation, "look", { attachments });
  await bens.open("Anna Berg");
  await bens.page.getByRole("img", { name: "garden.png" }).waitFor();
  await anna.command({ delete: { conversation, message: seq } });
  await bens.page.getByText("Message deleted").first().waitFor();
  await bens.page.getByRole("img", { name: "garden.png" }).waitFor({ state: "detached" });
});

scenario("a call rings wherever one is, can be declined, and leaves a line", async (world) => {
  const { anna, annas, bens, conversation } = await world.pair();
  await anna.call(conversation);
  const ring = bens.page.getByRole("region", { name: "Incoming call" });
  await ring.getByText("Anna Berg is calling").waitFor();
  await ring.getByText("no media that your browser can receive").waitFor();
  assert.ok(await ring.getByRole("button", { name: "Answer" }).isDisabled());
  await annas.page.getByRole("region", { name: "Your call" }).waitFor();
  // Who comes while it rings hears it ring, and on a telephone, before he has opened anything, in two lines.
  await bens.page.setViewportSize({ width: 390, height: 844 });
  await bens.page.reload();
  await ring.waitFor();
  const box = await ring.boundingBox();
  assert.ok(box && box.width === 390 && box.height < 80, `${box?.width} x ${box?.height}`);
  await bens.page.setViewportSize({ width: 1280, height: 800 });
  await ring.getByRole("button", { name: "Decline" }).click();
  await ring.waitFor({ state: "detached" });
  await annas.page.getByRole("region", { name: "Your call" }).waitFor({ state: "detached" });
  await bens.open("Anna Berg");
  await bens.page.getByText("Anna Berg started an audio call").waitFor();
  await bens.page.getByText("You declined the call from Anna Berg").waitFor();

  await anna.call(conversation, "video");
  await annas.page.getByRole("button", { name: "Hang up" }).click();
  await bens.page.getByText("Missed call from Anna Berg").waitFor();
});
