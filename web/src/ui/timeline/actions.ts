/** What one can do with a message, and whether one may. */

import type { ConversationView, Item, MessageBody, Seq } from "../../protocol/types";
import { textOf } from "../../state/fold";
import { app } from "../app";
import { composing } from "../composer/composing.svelte";
import { linkTo } from "../router.svelte";
import { attempt, copy } from "../shared/ask.svelte";
import { toast } from "../shared/toasts.svelte";
import { openDialog } from "../shell/dialogs.svelte";
import { show } from "../shell/panel.svelte";
import { mayModerate, postingRefusal } from "../use";
import { hidden } from "./hidden.svelte";

export interface Rights {
  reply: boolean;
  react: boolean;
  edit: boolean;
  remove: boolean;
  pin: boolean;
}

export function rightsOf(view: ConversationView, item: Item, me: number): Rights {
  const gone = item.state?.deleted === true;
  const mine = item.entry.by === me;
  const open = view.mine !== undefined && !view.closed;
  const posts = postingRefusal(view) === undefined;
  return {
    reply: !gone && posts,
    react: !gone && open,
    edit: !gone && mine && open,
    remove: !gone && open && (mine || mayModerate(view)),
    pin: !gone && open && (view.kind === "direct" || mayModerate(view)),
  };
}

export function reply(conversation: number, item: Item, thread?: Seq): void {
  composing.reply(conversation, item.entry.seq, thread);
}

export function edit(conversation: number, item: Item, thread?: Seq): void {
  composing.edit(conversation, item.entry.seq, textOf(item), thread);
}

export function react(conversation: number, item: Item, emoji: string, me: number): Promise<boolean> {
  const mine = item.state?.reactions?.find((one) => one.emoji === emoji)?.users.includes(me);
  const what = { conversation, message: item.entry.seq, emoji };
  return attempt(() => app.command(mine ? { unreact: what } : { react: what }));
}

export function pin(conversation: number, item: Item): Promise<boolean> {
  const what = { conversation, message: item.entry.seq };
  const pinned = item.state?.pinned === true;
  return attempt(() => app.command(pinned ? { unpin: what } : { pin: what }), pinned ? "Unpinned" : "Pinned");
}

/** Hides it at once, and deletes it for everyone when the time to undo is over. */
export function remove(conversation: number, item: Item): void {
  const message = item.entry.seq;
  hidden.add(conversation, message);
  toast("Message deleted for everyone", {
    action: { label: "Undo", run: () => hidden.drop(conversation, message) },
    expired: () => {
      void attempt(() => app.command({ delete: { conversation, message } })).then(() =>
        hidden.drop(conversation, message),
      );
    },
  });
}

export function copyText(item: Item): Promise<void> {
  return copy(textOf(item), "Text copied");
}

export function copyLink(conversation: number, item: Item): Promise<void> {
  const link = new URL(linkTo(conversation, item.entry.seq), location.href);
  return copy(link.href, "Link copied");
}

export function openThread(item: Item, body: MessageBody): void {
  show({ kind: "thread", root: body.thread ?? item.entry.seq });
}

export function info(conversation: number, item: Item): void {
  openDialog({ name: "message", conversation, message: item.entry.seq });
}
