/**
 * The address line is the state of navigation: `#/c/12` is a conversation, `#/c/12/345` a message in it, and the
 * three links that people send each other are `#/setup/…`, `#/invite/…` and `#/reset/…`.
 */
import type { ConversationId, Seq } from "../protocol/types";

export type Route =
  | { at: "list" }
  | { at: "conversation"; conversation: ConversationId; message?: Seq }
  | { at: "setup" | "invite" | "reset"; token: string };

export function parse(hash: string): Route {
  const parts = hash.replace(/^#\/?/, "").split("/");
  const [where, first = "", second] = parts;
  if (where === "c" && isNumber(first)) {
    const message = second !== undefined && isNumber(second) ? { message: Number(second) } : {};
    return { at: "conversation", conversation: Number(first), ...message };
  }
  if ((where === "setup" || where === "invite" || where === "reset") && first !== "")
    return { at: where, token: first };
  return { at: "list" };
}

function isNumber(text: string): boolean {
  return /^[1-9][0-9]{0,9}$/.test(text);
}

export function linkTo(conversation: ConversationId, message?: Seq): string {
  return message === undefined ? `#/c/${conversation}` : `#/c/${conversation}/${message}`;
}

/** `visit` grows with each navigation, so that going to the same message twice is seen twice. */
export const router = $state({ route: parse(location.hash), visit: 0 });

window.addEventListener("hashchange", () => {
  router.route = parse(location.hash);
  router.visit += 1;
});

export function go(hash: string, how: "push" | "replace" = "push"): void {
  if (location.hash === hash) {
    router.visit += 1;
    return;
  }
  if (how === "push") {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  router.route = parse(hash);
  router.visit += 1;
}

export function open(conversation: ConversationId, message?: Seq): void {
  go(linkTo(conversation, message));
}
