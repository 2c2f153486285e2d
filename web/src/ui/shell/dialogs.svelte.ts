/** Which dialog is open. One at a time; each is loaded when it is first wanted. */
import type { ConversationId } from "../../protocol/types";

export type DialogName =
  | { name: "switcher" }
  | { name: "create" }
  | { name: "find" }
  | { name: "direct" }
  | { name: "shortcuts" }
  | { name: "settings"; page?: string }
  | { name: "conversation"; conversation: ConversationId; page?: "settings" | "invites" | "bans" }
  | { name: "add"; conversation: ConversationId }
  | { name: "message"; conversation: ConversationId; message: number };

export const dialogs = $state<{ open: DialogName | undefined }>({ open: undefined });

export function openDialog(dialog: DialogName): void {
  dialogs.open = dialog;
}

export function closeDialog(): void {
  dialogs.open = undefined;
}
