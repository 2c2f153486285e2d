/** Searching: the last typed wins, and marks count bytes. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { markedParts } from "../src/state/search";
import { Browser, message } from "./far-end";

let browser: Browser;
beforeEach(() => {
  browser = new Browser();
});
afterEach(() => browser.end());

test("what was typed last is shown, whatever is answered first", async () => {
  const { app, socket } = await browser.online();
  const search = app.search();
  const hit = (seq: number) => ({
    item: { entry: message(2, seq) },
    context: "x",
    marks: [] as [number, number][],
  });
  const first = search.find("hel");
  const second = search.find("hello");
  const [one, two] = socket.queries.filter(({ get }) => "search" in get);
  socket.say({ answer: { id: two?.id ?? 0, answer: { search: { hits: [hit(4)], next: "p2" } } } });
  socket.say({ answer: { id: one?.id ?? 0, answer: { search: { hits: [hit(1), hit(2)] } } } });
  await Promise.all([first, second]);
  expect([search.hits.map((found) => found.item.entry.seq), search.more, search.loading]).toEqual([
    [4],
    true,
    false,
  ]);
  const more = search.loadMore();
  const three = socket.queries.at(-1);
  expect(three?.get).toEqual({ search: { text: "hello", limit: 30, page: "p2" } });
  socket.say({ answer: { id: three?.id ?? 0, answer: { search: { hits: [hit(3)] } } } });
  await more;
  expect([search.hits.length, search.more]).toEqual([2, false]);
});

test.each([
  ["a plain line", [[2, 7]], ["a ", "*plain", " line"]],
  ["größe", [[2, 4]], ["gr", "*ö", "ße"]],
  ["👍 ok", [[5, 7]], ["👍 ", "*ok"]],
  [
    "abc",
    [
      [1, 2],
      [0, 1],
    ],
    ["*a", "*b", "c"],
  ],
  ["abc", [[2, 99]], ["ab", "*c"]],
  ["abc", [], ["abc"]],
] as [string, [number, number][], string[]][])("%j marked at %j", (context, marks, parts) => {
  expect(markedParts(context, marks).map((part) => (part.marked ? "*" : "") + part.text)).toEqual(parts);
});
