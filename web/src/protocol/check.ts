/**
 * Looks at what comes in before anybody else does: cheap, structural, and no more than the state relies on to
 * not fall over. A frame of an unknown kind is from a newer server and is ignored; a malformed one is reported.
 */
import type { Entry, Event, ServerFrame } from "./types";

export type Checked = { frame: ServerFrame } | { unknown: string } | { malformed: string };

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value);
const logName = /^(d|[uc](0|[1-9][0-9]*))$/;

/** Parses and checks one text frame. */
export function checkFrame(text: string): Checked {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { malformed: "not JSON" };
  }
  if (!isObject(value)) return { malformed: "not an object" };
  const [kind, ...more] = Object.keys(value);
  if (kind === undefined || more.length > 0) return { malformed: "not exactly one kind" };
  const check = frames.get(kind);
  if (!check) return { unknown: kind };
  const body = value[kind];
  if (!isObject(body) || !check(body)) return { malformed: kind };
  return { frame: value as unknown as ServerFrame };
}

const frames = new Map<string, (body: Fields) => boolean>([
  ["welcome", (body) => isText(body.epoch) && isNumber(body.heartbeat_ms) && isSnapshot(body.snapshot)],
  ["resumed", (body) => isNumber(body.session) && isNumber(body.heartbeat_ms)],
  ["caught_up", () => true],
  ["done", (body) => isNumber(body.id) && isObject(body.reply)],
  ["answer", (body) => isNumber(body.id) && isObject(body.answer)],
  ["refused", (body) => (body.id === undefined || isNumber(body.id)) && isRefused(body.refused)],
  ["entry", isEntry],
  ["signal", isSignal],
  ["pong", () => true],
  ["closing", (body) => isRefused(body.reason)],
]);

function isRefused(value: unknown): boolean {
  return isObject(value) && isText(value.kind) && isText(value.code) && isText(value.message);
}

function isProfile(value: unknown): boolean {
  return isObject(value) && isNumber(value.id) && isText(value.handle) && isText(value.name);
}

function isPosition(value: unknown): boolean {
  return isObject(value) && isNumber(value.seq) && isNumber(value.messages);
}

function isView(value: unknown): boolean {
  return isObject(value) && isNumber(value.id) && isText(value.kind) && isPosition(value.head);
}

function isSnapshot(value: unknown): boolean {
  return (
    isObject(value) &&
    isProfile(value.me) &&
    isObject(value.settings) &&
    Array.isArray(value.conversations) &&
    value.conversations.every(isView) &&
    Array.isArray(value.users) &&
    value.users.every(isProfile) &&
    Array.isArray(value.contacts) &&
    Array.isArray(value.blocked) &&
    Array.isArray(value.positions)
  );
}

/** Whether something is an entry whose event, if its kind is known, has the fields that the state reads. */
export function isEntry(value: unknown): value is Entry {
  if (!isObject(value) || !isText(value.log) || !logName.test(value.log)) return false;
  if (!isNumber(value.seq) || !isNumber(value.at) || !isNumber(value.by) || !isObject(value.event))
    return false;
  const [kind] = Object.keys(value.event);
  if (kind === undefined) return false;
  const body = value.event[kind];
  return isObject(body) && (events.get(kind as KeyOf<Event>)?.(body) ?? true);
}

type KeyOf<U> = U extends unknown ? keyof U : never;

const isFile = (value: unknown) =>
  isObject(value) && isText(value.name) && isNumber(value.size) && isText(value.media_type);
const areFiles = (value: unknown) => value === undefined || (Array.isArray(value) && value.every(isFile));
const aboutUser = (body: Fields) => isNumber(body.user);
const aboutMessage = (body: Fields) => isNumber(body.message);
const events = new Map<KeyOf<Event>, (body: Fields) => boolean>([
  ["joined", aboutUser],
  ["left", aboutUser],
  ["removed", aboutUser],
  ["banned", aboutUser],
  ["unbanned", aboutUser],
  ["role_changed", (body) => aboutUser(body) && isText(body.role)],
  ["message", (body) => isText(body.text) && isNumber(body.number) && areFiles(body.attachments)],
  ["edited", (body) => aboutMessage(body) && isText(body.text)],
  ["deleted", aboutMessage],
  ["reacted", (body) => aboutMessage(body) && isText(body.emoji)],
  ["unreacted", (body) => aboutMessage(body) && isText(body.emoji)],
  ["pinned", aboutMessage],
  ["unpinned", aboutMessage],
  ["call_started", (body) => isText(body.media)],
  ["call_answered", (body) => isNumber(body.call)],
  ["call_ended", (body) => isNumber(body.call) && isText(body.reason)],
  ["entered", (body) => isView(body.conversation)],
  ["departed", (body) => isNumber(body.conversation)],
  ["contact_added", aboutUser],
  ["contact_removed", aboutUser],
  ["blocked", aboutUser],
  ["unblocked", aboutUser],
  ["muted", (body) => isNumber(body.conversation)],
  ["settings_changed", (body) => isObject(body.settings)],
  ["user_changed", (body) => isProfile(body.profile)],
]);

function isSignal(body: Fields): boolean {
  const [kind] = Object.keys(body);
  const value = kind === undefined ? undefined : body[kind];
  switch (kind) {
    case "typing":
      return isObject(value) && isNumber(value.conversation) && isNumber(value.user);
    case "presence":
      return (
        Array.isArray(value) &&
        value.every((one) => isObject(one) && isNumber(one.user) && isText(one.presence))
      );
    case "cursor":
      return (
        isObject(value) &&
        isNumber(value.conversation) &&
        isNumber(value.user) &&
        isNumber(value.delivered) &&
        isPosition(value.read)
      );
    default:
      return kind !== undefined;
  }
}
