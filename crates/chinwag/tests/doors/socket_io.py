"""A client of the door socket_io as its users wrote them: python-socketio and its own idea of HTTP.

Reads one order per line from standard input and writes what it is answered and told, one object per line each.

    socket_io.py http://HOST:PORT polling|websocket
    {"do": "log_in", "username": ..., "password": ...}      {"do": "contacts", "name": ...}
    {"do": "connect"}  {"do": "disconnect"}                 {"do": "emit", "event": ..., "data": {...}}
"""

import json
import sys
import threading
import urllib.parse
import urllib.request

import socketio

base, transport = sys.argv[1:]
client = socketio.Client(reconnection=False)
token = None
lock = threading.Lock()


def tell(**what):
    with lock:
        print(json.dumps(what), flush=True)


def listen(event):
    client.on(event, lambda data: tell(event=event, data=data))


for event in ("received_message", "ai_response_received", "new_user_online", "user_has_gone_offline"):
    listen(event)
client.on("disconnect", lambda *_: tell(gone=True))


def ask(path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(base + path, data, head)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


for line in sys.stdin:
    order = json.loads(line)
    what = order.pop("do")
    if what == "log_in":
        answer = ask("/log_in", order)
        token = answer.pop("token", token)
        tell(answer=answer)
    elif what == "contacts":
        headers = {"username": order["name"], "jwt": token} if token else {}
        tell(answer=ask("/get_contacts_list/" + urllib.parse.quote(order["name"]), headers=headers))
    elif what == "connect":
        # A second, which it waits by itself, is little on a machine that is busy.
        client.connect(base, transports=[transport], wait_timeout=60)
        tell(answer="connected")
    elif what == "disconnect":
        client.disconnect()
    elif what == "emit":
        data = {**order["data"], **({"jwt": token} if token else {})}
        client.emit(order["event"], data, callback=lambda *answer: tell(answer=answer[0] if answer else None))
