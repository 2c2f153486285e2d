/** What happened in a conversation besides messages, in words. Names are parts of their own, to be isolated. */
import type { CallEnd, CallMedia, ConversationChange, Entry } from "../../protocol/types";
import { app } from "../app";
import { durationOf, listOf } from "../shared/format";
import { nameOf } from "../use";

export interface Said {
  text: string;
  /** A message that it is about. */
  jump?: number;
}

export function saidOf(entries: readonly Entry[]): Said {
  const [entry] = entries;
  if (!entry) return { text: "" };
  const by = nameOf(entry.by);
  const event = entry.event;
  if ("created" in event) return { text: `${by} created this ${event.created.kind}` };
  if ("joined" in event) return { text: joined(entries, entry) };
  if ("left" in event) return { text: `${namesOf(entries)} left` };
  if ("removed" in event) {
    const { user, banned } = event.removed;
    return { text: `${by} ${banned ? "banned" : "removed"} ${nameOf(user, "you")}` };
  }
  if ("banned" in event) return { text: `${by} banned ${nameOf(event.banned.user, "you")}` };
  if ("unbanned" in event) return { text: `${by} lifted the ban of ${nameOf(event.unbanned.user, "you")}` };
  if ("role_changed" in event) {
    const { user, role } = event.role_changed;
    const who = nameOf(user, "you");
    if (role === "owner") return { text: `${by} made ${who} the owner` };
    return {
      text:
        role === "admin"
          ? `${by} made ${who} an admin`
          : `${who === "you" ? "You are" : `${who} is`} no longer an admin`,
    };
  }
  if ("changed" in event) return { text: `${by} ${changed(event.changed)}` };
  if ("pinned" in event) return { text: `${by} pinned a message`, jump: event.pinned.message };
  if ("call_started" in event) return { text: `${by} started ${callName(event.call_started.media)}` };
  if ("call_ended" in event) return { text: callEnded(entry, event.call_ended) };
  if ("closed" in event) return { text: `${by} closed this conversation` };
  return { text: "" };
}

function callName(media: CallMedia): string {
  return media === "video" ? "a video call" : "an audio call";
}

function callEnded(entry: Entry, { call, reason }: { call: number; reason: CallEnd }): string {
  const id = Number(entry.log.slice(1));
  const started = app.timeline(id).items.find((item) => item.entry.seq === call)?.entry;
  const by = started ? nameOf(started.by, "you") : undefined;
  const from = by ? ` from ${by}` : "";
  if (reason === "missed") return `Missed call${from}`;
  if (reason === "declined") return `${nameOf(entry.by)} declined the call${from}`;
  const lasted = started ? `, after ${durationOf(entry.at - started.at)}` : "";
  return reason === "failed"
    ? `The call was cut off${lasted}`
    : `${nameOf(entry.by)} ended the call${lasted}`;
}

function joined(entries: readonly Entry[], entry: Entry): string {
  if (!("joined" in entry.event)) return "";
  const { user, how } = entry.event.joined;
  if (how === "adding" && user !== entry.by) return `${nameOf(entry.by)} added ${nameOf(user, "you")}`;
  return `${namesOf(entries)} joined${how === "invite" && entries.length === 1 ? " by invitation" : ""}`;
}

function namesOf(entries: readonly Entry[]): string {
  const users = entries.map((one) => {
    if ("joined" in one.event) return one.event.joined.user;
    return "left" in one.event ? one.event.left.user : one.by;
  });
  return listOf([...new Set(users)].map((user, at) => nameOf(user, at === 0 ? "You" : "you")));
}

function changed(change: ConversationChange): string {
  const parts: string[] = [];
  if (change.name !== undefined) parts.push(`renamed it to “${change.name}”`);
  if (change.topic !== undefined)
    parts.push(change.topic === "" ? "removed the topic" : `set the topic to “${change.topic}”`);
  if (change.avatar !== undefined) parts.push(change.avatar.file ? "chose a picture" : "removed the picture");
  if (change.public !== undefined) parts.push(change.public ? "made it public" : "made it private");
  if (change.handle !== undefined && change.public === undefined)
    parts.push(`changed its address to #${change.handle}`);
  if (change.history !== undefined) {
    parts.push(
      change.history === "all" ? "let new members read the history" : "hid the history from new members",
    );
  }
  if (change.posting !== undefined)
    parts.push(change.posting === "admins" ? "let only admins post" : "let everyone post");
  return listOf(parts, 9) || "changed the settings";
}
