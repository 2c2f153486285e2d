/**
 * The few things that are asked over plain HTTP: everything around signing in, where there is no socket yet.
 * The session's token lives in a cookie that scripts cannot read.
 */
import type { Device, Query, Refused, ServerInfo, SignedIn } from "../protocol/types";
import { RefusedError, unavailable } from "./ask";

export interface Credentials {
  handle: string;
  password: string;
  /** The token of an invitation or of the setup link, at registration. */
  invite?: string;
}

export const http = {
  register: (who: Credentials) => send<SignedIn>("/api/register", device(who)),
  signIn: (who: Credentials) => send<SignedIn>("/api/sign-in", device(who)),
  signOut: () => send<unknown>("/api/sign-out", {}),
  /** Chooses a new password with the token of a reset link. */
  reset: (token: string, password: string) => send<unknown>("/api/reset", { token, password }),
  server: () => send<ServerInfo>("/api/server"),
  query: <T>(query: Query) => send<T>("/api/query", query),

  /** Whether the cookie is good; `undefined`: the server cannot be reached or does not know. */
  async hasSession(): Promise<boolean | undefined> {
    try {
      await send("/api/query", { sessions: {} } satisfies Query);
      return true;
    } catch (error) {
      return error instanceof RefusedError && error.refused.kind === "not_signed_in" ? false : undefined;
    }
  },
};

function device(who: Credentials): Device {
  return { ...who, device: deviceName(navigator.userAgent), cookie: true };
}

/** What to call this browser in the list of sessions: `Firefox on Linux`. */
export function deviceName(agent: string): string {
  const browser = /Edg\//.test(agent)
    ? "Edge"
    : /Firefox\//.test(agent)
      ? "Firefox"
      : /Chrome\//.test(agent)
        ? "Chrome"
        : /Safari\//.test(agent)
          ? "Safari"
          : "Browser";
  const system = /Android/.test(agent)
    ? "Android"
    : /iPhone|iPad/.test(agent)
      ? "iOS"
      : /Mac OS X/.test(agent)
        ? "macOS"
        : /Windows/.test(agent)
          ? "Windows"
          : /Linux/.test(agent)
            ? "Linux"
            : "";
  return system ? `${browser} on ${system}` : browser;
}

async function send<T>(path: string, body?: unknown): Promise<T> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
    });
    text = await response.text();
  } catch {
    throw unavailable("the server cannot be reached");
  }
  let value: unknown;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch {
    throw unavailable("the server answered something that is not JSON");
  }
  if (response.ok) return value as T;
  throw new RefusedError(
    isRefused(value) ? value : unavailable(`the server answered ${response.status}`).refused,
  );
}

function isRefused(value: unknown): value is Refused {
  return (
    typeof value === "object" && value !== null && "kind" in value && "code" in value && "message" in value
  );
}
