// An account as a program sees it: the HTTP API, with a token.
import { randomUUID } from "node:crypto";

export const password = "correct horse battery";

export class Account {
  /** Makes an account; `profile` is what `change_profile` takes. */
  static async register(server, handle, profile, invite) {
    const device = { handle, password, device: "test", cookie: false, ...(invite ? { invite } : {}) };
    const account = new Account();
    account.server = server;
    account.handle = handle;
    const { user, token } = await ask(server, "/api/register", device);
    Object.assign(account, { id: user, token });
    if (profile) await account.command({ change_profile: profile });
    account.name = profile?.name ?? handle;
    return account;
  }

  command(command) {
    return ask(this.server, "/api/command", command, this.token);
  }

  query(query) {
    return ask(this.server, "/api/query", query, this.token);
  }

  /** A public group of one's own, unless `more` says otherwise; its number. */
  async create(name, more = {}) {
    const what = { client_id: randomUUID(), kind: "group", name, public: true, ...more };
    return (await this.command({ create_conversation: what })).conversation.conversation;
  }

  async direct(user) {
    return (await this.command({ open_direct: { user: user.id } })).conversation.conversation;
  }

  async join(conversation) {
    await this.command({ join: { conversation } });
  }

  /** Says something; its number. */
  async say(conversation, text, more = {}) {
    return (await this.command({ post: { conversation, client_id: randomUUID(), text, ...more } })).posted
      .seq;
  }

  /** Hands a file over; what a message is told of it. */
  async upload(name, bytes) {
    const response = await fetch(`${this.server.origin}/api/files?name=${encodeURIComponent(name)}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", authorization: `Bearer ${this.token}` },
      body: bytes,
    });
    if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`);
    const { file } = await response.json();
    return { file, name };
  }

  /** Calls a conversation; the number of the call. */
  async call(conversation, media = "audio") {
    return (await this.command({ start_call: { conversation, client_id: randomUUID(), media } })).call.call;
  }

  /** The texts of a conversation as the server has them, oldest first. */
  async texts(conversation) {
    const { history } = await this.query({ history: { conversation, anchor: "latest", limit: 100 } });
    return history.items.flatMap(({ entry }) => ("message" in entry.event ? [entry.event.message.text] : []));
  }
}

async function ask(server, path, body, token) {
  const response = await fetch(server.origin + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} ${JSON.stringify(body)}: ${response.status} ${text}`);
  return JSON.parse(text);
}
