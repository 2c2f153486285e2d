/** What stands at the right of a conversation. On narrow screens it lies over it, and "back" closes it. */
import type { Seq } from "../../protocol/types";

export type Panel =
  | { kind: "members" }
  | { kind: "pins" }
  | { kind: "details" }
  | { kind: "search" }
  | { kind: "thread"; root: Seq };

export const panels = $state<{ open: Panel | undefined }>({ open: undefined });

const narrow = window.matchMedia("(max-width: 64rem)");

export function show(panel: Panel): void {
  if (narrow.matches && !panels.open) history.pushState({ panel: true }, "");
  panels.open = panel;
}

export function toggle(kind: "members" | "pins" | "details" | "search"): void {
  if (panels.open?.kind === kind) close();
  else show({ kind });
}

export function close(): void {
  if (!panels.open) return;
  panels.open = undefined;
  if ((history.state as { panel?: boolean } | null)?.panel) history.back();
}

window.addEventListener("popstate", () => {
  if (narrow.matches && !(history.state as { panel?: boolean } | null)?.panel) panels.open = undefined;
});
