/** What one can do with a conversation as a whole. */
import type { ConversationId, ConversationView } from "../../protocol/types";
import { app } from "../app";
import { go } from "../router.svelte";
import { attempt, confirm } from "../shared/ask.svelte";
import { titleOf } from "../use";

const hour_ms = 3_600_000;

export function muteFor(conversation: ConversationId, hours: number): Promise<boolean> {
  return attempt(() => app.command({ mute: { conversation, until: Date.now() + hours * hour_ms } }), "Muted");
}

export function unmute(conversation: ConversationId): Promise<boolean> {
  return attempt(() => app.command({ mute: { conversation } }), "No longer muted");
}

export async function leave(view: ConversationView): Promise<void> {
  const sure = await confirm({
    title: `Leave ${titleOf(view)}?`,
    text: view.public
      ? "You can join again whenever you like."
      : "It is private: you can come back only if somebody adds or invites you.",
    action: "Leave",
  });
  if (sure && (await attempt(() => app.leave(view.id)))) go("#/", "replace");
}

export async function closeForAll(view: ConversationView): Promise<void> {
  const sure = await confirm({
    title: `Close ${titleOf(view)} for everybody?`,
    text: "Members can still read it, but nothing can be added any more. This cannot be undone.",
    action: "Close for everybody",
  });
  if (sure) await attempt(() => app.command({ close_conversation: { conversation: view.id } }), "Closed");
}
