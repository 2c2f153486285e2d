/** One line for the list: what was said last. */

import type { ConversationView } from "../../protocol/types";
import { textOf } from "../../state/fold";
import { plainText } from "../../text/markdown";
import { me, nameOf } from "../use";

export function previewOf(view: ConversationView): string {
  const last = view.last;
  if (!last) return view.kind === "direct" ? "No messages yet" : (view.topic ?? "No messages yet");
  const by = last.entry.by;
  const who = view.kind !== "direct" || by === me().id ? `${nameOf(by)}: ` : "";
  return who + (last.state?.deleted ? "Message deleted" : plainText(textOf(last)));
}
