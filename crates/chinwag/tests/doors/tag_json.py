"""A client of the tag_json wire that depends on all that the old one depends on.

Commands come in on standard input, one a line; what happens goes out on standard output, one a line. As the old
one it takes the answer to a sign-up or a login from one single read: two tags in it are an error after a sign-up,
and after a login only the first one counts, the others are lost. Only then it asks for its data and reads whatever
comes, as tags split by `<TAG>`; it sends texts as they are typed, with that word in them or not.
"""

import base64
import hashlib
import json
import time

from old_program import connect, in_background, obey, say

MARK = b"<TAG>"


class Client:
    def __init__(self):
        self.socket = connect()
        self.id = None
        self.count = 0

    def send(self, **keys):
        self.socket.sendall(json.dumps(keys).encode() + MARK)

    def probe(self):
        self.socket.sendall(MARK)

    def name(self, action):
        self.count += 1
        words = "|".join([action, self.id, str(time.time()), str(self.count)])
        return base64.b64encode(words.encode()).decode()

    def one_read(self):
        return self.socket.recv(1024 * 1024)

    def signup(self, id, key):
        self.probe()
        self.send(ID=id, NAME=id.title() + " One", KEY=key, ACTION="SIGNUP", DATE_TIME=int(time.time() * 1000))
        answer = json.loads(self.one_read().removesuffix(MARK))
        assert "KEY" not in answer, answer
        say("SIGNUP", answer["RESPONSE"])

    def login(self, id, key):
        self.probe()
        self.send(ID=id, KEY=key, ACTION="LOGIN", DATE_TIME=int(time.time() * 1000))
        first, *lost = self.one_read().split(MARK)
        assert lost == [b""], lost
        answer = json.loads(first)
        assert answer["ID"] == id and "KEY" not in answer, answer
        say("LOGIN", answer["RESPONSE"])
        if answer["RESPONSE"] == "SUCCESSFUL":
            self.id = id.lower()
            self.socket.settimeout(None)
            self.send(ID=id, ACTION="DATA", TYPE="CONTACT")
            in_background(self.receive)

    def receive(self):
        rest = b""
        while piece := self.one_read():
            *tags, rest = (rest + piece).split(MARK)
            for tag in tags:
                self.take({key.upper(): value for key, value in json.loads(tag).items()})

    def take(self, tag):
        action = tag.get("ACTION")
        if action == "DATA":
            data = tag["DATA"]
            names = [[one["ID"] for one in data[kind]] for kind in ("users", "groups", "channels")]
            say("DATA", data["ID"], data["STATUS"], json.dumps(names))
        elif action == "CHAT" and "SENDER" in tag:
            assert tag["DATE_TIME"] > 1_600_000_000_000, tag
            words = [tag["CHAT"], tag["TYPE"], tag["SENDER"], tag["RECIPIENT"], json.dumps(tag["TEXT"])]
            if tag["CHAT"] != "TEXT":
                content = base64.b64decode(tag["DATA"])
                words += [tag["NAME"], "%d/%d" % (tag["PART"], tag["PARTS"]), digest(content)]
            say(*words)
        elif action == "STATUS" and "ID" in tag:
            status = tag["STATUS"]
            assert status == "ONLINE" or status > 1_600_000_000_000, tag
            say("STATUS", tag["ID"], "ONLINE" if status == "ONLINE" else "OFFLINE")
        elif action == "STATUS":
            say("STATUSES", json.dumps([one for one, _ in tag["STATUSES"]]))
        elif action == "ADD" and "DATA" in tag:
            members = ",".join(sorted(tag["DATA"].get("users", [])))
            say("ADD", tag["TYPE"], tag["DATA"]["ID"], members, tag.get("RESPONSE", "-"))
        else:
            keys = ["TYPE", "GROUP_ID", "CHANNEL_ID", "USER_ID", "SENDER", "CALL", "RESPONSE", "DATA", "NAME", "ICON"]
            say(action, *[tag[key] for key in keys if key in tag])

    def command(self, line):
        word, _, rest = line.partition(" ")
        words = rest.split(" ")
        if word in ("signup", "login"):
            getattr(self, word)(*rest.split(" ", 1))
        elif word == "chat":
            kind, to, text = rest.split(" ", 2)
            self.send(RECIPIENT=to, DATA="", CHAT="TEXT", TYPE=kind, SENDER=self.id, ACTION="CHAT",
                      TEXT=text, ID=self.name("CHAT"), DATE_TIME=int(time.time() * 1000))
        elif word == "again":
            # The old one sends a chat again, as it was, if it cannot know what became of it.
            self.send(RECIPIENT=words[0], DATA="", CHAT="TEXT", TYPE="GROUP", SENDER=self.id, ACTION="CHAT",
                      TEXT=words[1], ID="again-" + words[1], DATE_TIME=1_795_262_300_000)
        elif word == "image":
            content = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * int(words[1])
            self.send(RECIPIENT=words[0], CHAT="IMAGE", TYPE="GROUP", ACTION="CHAT", TEXT="", NAME="p.png",
                      DATA=base64.b64encode(content).decode(), ID=self.name("CHAT"))
            say("SENT", digest(content))
        elif word == "file":
            content = bytes(range(256)) * 512
            parts = [content[at:at + 65536] for at in range(0, len(content), 65536)]
            name = self.name("CHAT")
            for number, part in enumerate(parts, 1):
                self.send(RECIPIENT=words[0], CHAT="FILE", TYPE="GROUP", ACTION="CHAT", TEXT="", NAME="f.bin",
                          SIZE=len(content), PART=number, PARTS=len(parts), ID=name,
                          DATA=base64.b64encode(part).decode())
            say("SENT", digest(content))
        elif word == "tag":
            self.send(**json.loads(rest))
        elif word == "half":
            self.socket.sendall(b'{"ACTION": "CHAT", "TEXT": "half of')


def digest(content):
    return hashlib.sha256(content).hexdigest()


obey(Client())
