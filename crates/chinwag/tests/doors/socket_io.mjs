// The same client as socket_io.py, with the library that browsers and Node use. It takes the same orders.
//
//     node socket_io.mjs http://HOST:PORT polling|websocket|both PACKAGE.JSON

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [base, transport, packages] = process.argv.slice(2);
const { io } = createRequire(packages)("socket.io-client");
const transports = transport === "both" ? ["polling", "websocket"] : [transport];
const socket = io(base, { autoConnect: false, reconnection: false, transports });
let token;

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

for (const event of ["received_message", "ai_response_received", "new_user_online", "user_has_gone_offline"]) {
  socket.on(event, (data, arrived) => {
    tell({ event, data });
    arrived?.();
  });
}
socket.on("connect", () => tell({ answer: "connected" }));
socket.on("connect_error", (error) => tell({ error: error.message }));
socket.on("disconnect", () => tell({ gone: true }));

const orders = {
  async log_in(order) {
    const { token: given, ...answer } = await ask("/log_in", order);
    token = given ?? token;
    tell({ answer });
  },
  async contacts({ name }) {
    tell({ answer: await ask(`/get_contacts_list/${encodeURIComponent(name)}`, undefined, token && { username: name, jwt: token }) });
  },
  async connect() {
    socket.connect();
  },
  async disconnect() {
    socket.disconnect();
  },
  async emit({ event, data }) {
    socket.emit(event, token ? { ...data, jwt: token } : data, (answer) => tell({ answer: answer ?? null }));
  },
};

async function ask(path, body, headers) {
  const answer = await fetch(base + path, {
    method: body ? "POST" : "GET",
    headers: { "Content-Type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  return answer.json();
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, ...order } = JSON.parse(line);
  await orders[what](order);
}
socket.disconnect();
