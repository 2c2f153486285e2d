/** Words for names, times and numbers. Pure; the language is the browser's. */
import type { Millis } from "../../protocol/types";

const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const longWeekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const withYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const number = new Intl.NumberFormat();

const day_ms = 86_400_000;

/** At most two letters that stand for a name: one of each of its first two words. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/u).filter((word) => word !== "");
  const letters = words.slice(0, 2).map((word) => firstLetter(word));
  return letters.join("").toLocaleUpperCase() || "?";
}

function firstLetter(word: string): string {
  for (const { segment } of segments.segment(word)) return [...segment].slice(0, 2).join("");
  return "";
}

/** 1.2 MB. */
export function sizeOf(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let size = bytes;
  let unit = 0;
  while (size >= 999.95 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

/** 3 min, 2 h 5 min; less than a minute in seconds. */
export function durationOf(ms: Millis): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 14:05. */
export function timeOf(at: Millis): string {
  return clock.format(at);
}

/** 14:05 or 2:05, where there is little room and the full time is near. */
export function tightTime(at: Millis): string {
  const parts = clock.formatToParts(at).filter((part) => part.type !== "dayPeriod");
  return parts
    .map((part) => part.value)
    .join("")
    .trim();
}

/** Everything there is to say about a time, for tooltips. */
export function exactTime(at: Millis): string {
  return exact.format(at);
}

/** The start of the day of a time, in the browser's time zone. */
export function dayStart(at: Millis): number {
  return new Date(at).setHours(0, 0, 0, 0);
}

/** Whole days between the day of a time and today; by calendar, so that a change of the clock does no harm. */
function daysAgo(at: Millis, now: Millis): number {
  return Math.round((dayStart(now) - dayStart(at)) / day_ms);
}

/** Short, for lists: 14:05, Mon, 3 Oct, 3 October 2024. */
export function shortTime(at: Millis, now: Millis = Date.now()): string {
  const days = daysAgo(at, now);
  if (days <= 0) return clock.format(at);
  if (days === 1) return "Yesterday";
  if (days < 7) return weekday.format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear()
    ? dayMonth.format(at)
    : withYear.format(at);
}

/** For the lines between days: Today, Yesterday, Monday, Monday 3 October, 3 October 2024. */
export function dayName(at: Millis, now: Millis = Date.now()): string {
  const days = daysAgo(at, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days === -1) return "Tomorrow";
  if (days > 0 && days < 7) return longWeekday.format(at);
  return new Date(at).getFullYear() === new Date(now).getFullYear()
    ? fullDay.format(at)
    : withYear.format(at);
}

/** Day and time together: 14:05, Yesterday 14:05. */
export function dayAndTime(at: Millis, now: Millis = Date.now()): string {
  if (daysAgo(at, now) === 0) return timeOf(at);
  return `${dayName(at)} ${timeOf(at)}`;
}

/** How long ago, roughly: just now, 5 minutes ago, 3 hours ago, Yesterday 14:05. */
export function ago(at: Millis, now: Millis = Date.now()): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${plural(minutes, "minute")} ago`;
  if (minutes < 12 * 60) return `${plural(Math.floor(minutes / 60), "hour")} ago`;
  return `${dayName(at, now)}, ${timeOf(at)}`;
}

/** 1 member, 1,204 members. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number.format(count)} ${count === 1 ? one : many}`;
}

/** A count that fits a badge. */
export function badge(count: number): string {
  return count > 999 ? "999+" : String(count);
}

/** Anna, Anna and Ben, Anna, Ben and 3 others. */
export function listOf(names: readonly string[], shown = 3): string {
  if (names.length <= 1) return names[0] ?? "";
  if (names.length <= shown) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${names.slice(0, shown - 1).join(", ")} and ${names.length - shown + 1} others`;
}

/** First letter large: what the server says in a refusal starts small. */
export function sentence(text: string): string {
  const first = text.slice(0, 1).toLocaleUpperCase() + text.slice(1);
  return /[.!?…]$/u.test(first) ? first : `${first}.`;
}
