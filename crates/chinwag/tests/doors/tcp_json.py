"""A client of the tcp_json wire that is as easily offended as the old one.

Commands come in on standard input, one a line; what happens goes out on standard output, one a line. Its receiver
reads exactly as many characters as five digits say, and ends (with a line `dead ...`) on an answer of an action
that it does not know, on a missing key, and on a message of a group that it has not seen.
"""

import json

from old_program import connect, in_background, obey, say


class Client:
    def __init__(self):
        self.socket = connect()
        self.socket.settimeout(None)
        self.reader = self.socket.makefile("rb")
        self.name = None
        self.password = None
        self.groups = {}
        self.numbers = {}

    def send(self, **keys):
        text = json.dumps(keys)
        self.socket.sendall(("%05d" % len(text) + text).encode())

    def frame(self):
        """One frame; the number counts characters, of which the old client takes one byte each."""
        digits = self.reader.read(5)
        if len(digits) < 5:
            return None
        return json.loads(self.reader.read(int(digits.decode("ascii"))).decode("ascii"))

    def receive(self):
        while (answer := self.frame()) is not None:
            self.take(answer)

    def take(self, answer):
        action = answer["action"]
        getattr(self, "on_" + action)(answer)

    def on_register(self, answer):
        say("register", answer["status"], answer["message"])
        if answer["status"]:
            self.send(action="login", username=answer["username"], password=answer["password"])

    def on_login(self, answer):
        say("login", answer["status"], answer["message"])
        if answer["status"]:
            self.name = answer["username"]
            self.send(action="load_history", send_from=self.name)

    def on_load_history(self, answer):
        if not answer["status"]:
            return say("load_history", False, answer["message"])
        for number, name in answer["result"]:
            if name in self.numbers and self.numbers[name] != number:
                raise ValueError("two groups of one name: " + name)
            self.groups[number], self.numbers[name] = name, number
        say("load_history", True, json.dumps(answer["result"]))

    def on_time(self, answer):
        say("time", "The current server time is " + answer["result"] + ".")

    def on_poem(self, answer):
        if answer["status"]:
            say("poem", answer["index"], json.dumps(answer["result"]))
        else:
            say("poem", answer["index"], answer["result"])

    def on_create_group(self, answer):
        say("create_group", answer["status"], answer["message"])
        if answer["status"]:
            self.send(action="join_group", send_from=self.name, group_name=answer["group_name"])

    def on_join_group(self, answer):
        if answer["status"]:
            number, name = answer["group_id"], answer["group_name"]
            self.groups[number], self.numbers[name] = name, number
        say("join_group", answer["status"], answer["group_id"], answer["message"])

    def on_leave_group(self, answer):
        if answer["status"]:
            del self.groups[self.numbers.pop(answer["group_name"])]
        say("leave_group", answer["status"], answer["message"])

    def on_recv_chat(self, answer):
        say("chat", self.groups[answer["send_to"]], answer["send_from"], json.dumps(answer["message"]))

    def on_search_chat_history(self, answer):
        say("search", answer["status"], json.dumps(answer["result"] if answer["status"] else answer["message"]))

    def on_logout(self, answer):
        say("logout", answer["status"], answer["message"])

    def command(self, line):
        verb, _, rest = line.partition(" ")
        if verb in ("register", "login"):
            name, password = rest.split(" ", 1)
            self.send(action=verb, username=name, password=password)
        elif verb == "create":
            self.send(action="create_group", group_name=rest)
        elif verb in ("join", "leave"):
            self.send(action=verb + "_group", send_from=self.name, group_name=rest)
        elif verb == "send":
            group, text = rest.split(" ", 1)
            self.send(action="send_chat", send_from=self.name, send_to=self.numbers[group], message=text + "\n")
        elif verb == "poem":
            self.send(action="poem", send_from=self.name, index=rest)
        elif verb == "search":
            self.send(action="search_chat_history", send_from=self.name, term=rest)
        elif verb == "forge":
            group, name, text = rest.split(" ", 2)
            self.send(action="send_chat", send_from=name, send_to=self.numbers[group], message=text + "\n")
        elif verb == "half":
            self.socket.sendall(b"00100{\"action\"")
        else:
            self.send(action=verb, send_from=self.name)


client = Client()
in_background(client.receive)
obey(client)
