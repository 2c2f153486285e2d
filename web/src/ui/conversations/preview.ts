/** One line for the list: what was said last. */

import type { ConversationView, Item } from "../../protocol/types";
import { messageOf, textOf } from "../../state/fold";
import { plainText } from "../../text/markdown";
import { me, nameOf } from "../use";

function said(last: Item): string {
  const text = plainText(textOf(last));
  const files = messageOf(last)?.attachments ?? [];
  return text === "" ? files.map((file) => file.name).join(", ") : text;
}

export function previewOf(view: ConversationView): string {
  const last = view.last;
  if (!last) return view.kind === "direct" ? "No messages yet" : (view.topic ?? "No messages yet");
  const by = last.entry.by;
  const who = view.kind !== "direct" || by === me().id ? `${nameOf(by)}: ` : "";
  return who + (last.state?.deleted ? "Message deleted" : said(last));
}
