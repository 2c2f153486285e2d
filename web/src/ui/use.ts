/**
 * The one bridge between the state, which knows no framework, and components: reading through `live` redraws a
 * component when that part of the state says it has changed.
 */
import { createSubscriber } from "svelte/reactivity";
import type { ConversationId, ConversationView, Presence, Profile, UserId } from "../protocol/types";
import type { Conversation } from "../state/conversations";
import type { Observable } from "../state/observable";
import { model } from "./app";

interface Watched {
  subscribe: () => void;
  seen: Observable;
}

const watched = new WeakMap<Observable, Watched>();
const behind = new WeakMap<Observable, Observable>();

/**
 * The observable; whoever reads it in a template, a `$derived` or an `$effect` reads it again after a change.
 *
 * What is returned stands for the same object but is another one after each change: a `$derived` that holds it would
 * otherwise be taken for unchanged.
 */
export function live<T extends Observable>(observable: T): T {
  const target = behind.get(observable) ?? observable;
  let found = watched.get(target);
  if (!found) {
    const made: Watched = {
      seen: standIn(target),
      subscribe: createSubscriber((update) =>
        target.subscribe(() => {
          made.seen = standIn(target);
          update();
        }),
      ),
    };
    found = made;
    watched.set(target, made);
  }
  found.subscribe();
  return found.seen as T;
}

/** Reads through to the object itself, whose private parts know no other `this`. */
function standIn(target: Observable): Observable {
  const made = new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key, object);
      return typeof value === "function" ? value.bind(object) : value;
    },
    set: (object, key, value) => Reflect.set(object, key, value, object),
  });
  behind.set(made, target);
  return made;
}

export function me(): Profile {
  return live(model.session).me ?? nobody(0);
}

/** A profile; until it is known, and for those who are gone, one that says so. */
export function person(id: UserId): Profile {
  return live(model.people).get(id) ?? nobody(id);
}

function nobody(id: UserId): Profile {
  return { id, handle: "", name: id === 0 ? "" : "…", hue: (id * 47) % 360, kind: "person" };
}

/** A name for a sentence in which one may be oneself. */
export function nameOf(id: UserId, self = "You"): string {
  return id === me().id ? self : person(id).name;
}

export function presenceOf(id: UserId): Presence {
  return live(model.presence).of(id);
}

export function conversation(id: ConversationId): Conversation | undefined {
  live(model.conversations);
  const found = model.conversations.get(id);
  return found && live(found);
}

/** The other user of a direct conversation. */
export function otherOf(view: ConversationView): Profile | undefined {
  if (!view.direct) return undefined;
  const [a, b] = view.direct;
  return person(a === me().id ? b : a);
}

export function isNotes(view: ConversationView): boolean {
  return view.direct !== undefined && view.direct[0] === view.direct[1];
}

export function titleOf(view: ConversationView): string {
  if (isNotes(view)) return "Notes to yourself";
  return otherOf(view)?.name ?? view.name ?? "";
}

/** Whether one may post, and if not, why. */
export function postingRefusal(view: ConversationView): string | undefined {
  if (!view.mine) return "You are not a member of this conversation.";
  if (view.closed)
    return "This conversation was closed by its owner. It can be read, but nothing can be added.";
  if (otherOf(view)?.inactive) return "This account is no longer in use.";
  if (view.posting === "admins" && view.mine.role === "member") {
    return view.kind === "channel" ? "Only admins post in this channel." : "Only admins post here.";
  }
  return undefined;
}

export function mayModerate(view: ConversationView): boolean {
  return view.kind !== "direct" && (view.mine?.role === "admin" || view.mine?.role === "owner");
}
