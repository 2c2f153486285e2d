/** Messages that are about to be deleted: hidden here until the time to undo is over. */
import { SvelteSet } from "svelte/reactivity";
import type { ConversationId, Seq } from "../../protocol/types";

const set = new SvelteSet<string>();

export const hidden = {
  has: (conversation: ConversationId, message: Seq) => set.has(`${conversation}/${message}`),
  add: (conversation: ConversationId, message: Seq) => void set.add(`${conversation}/${message}`),
  drop: (conversation: ConversationId, message: Seq) => void set.delete(`${conversation}/${message}`),
};
