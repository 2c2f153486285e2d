/** What a composer is about to do besides saying something new: answer a message, or change one. */
import { SvelteMap } from "svelte/reactivity";
import type { ConversationId, Seq } from "../../protocol/types";
import { model } from "../app";

export interface Editing {
  message: Seq;
  text: string;
}

const edits = new SvelteMap<string, Editing>();
const focuses = $state({ count: 0 });

function key(conversation: ConversationId, thread?: Seq): string {
  return thread === undefined ? `${conversation}` : `${conversation}/${thread}`;
}

export const composing = {
  editing: (conversation: ConversationId, thread?: Seq) => edits.get(key(conversation, thread)),

  edit(conversation: ConversationId, message: Seq, text: string, thread?: Seq) {
    edits.set(key(conversation, thread), { message, text });
    focuses.count += 1;
  },

  stopEditing(conversation: ConversationId, thread?: Seq) {
    edits.delete(key(conversation, thread));
  },

  reply(conversation: ConversationId, message: Seq, thread?: Seq) {
    edits.delete(key(conversation, thread));
    const text = model.drafts.get(conversation, thread)?.text ?? "";
    model.drafts.set(conversation, { text, reply_to: message }, thread);
    focuses.count += 1;
  },

  /** Grows whenever a composer should take the focus. */
  get wanted() {
    return focuses.count;
  },

  focus() {
    focuses.count += 1;
  },
};
