"""A client of the pipe_line wire as simple as the old one: one send is one message, one recv(1024) is one message.

Commands come in on standard input, one a line: `listen` asks to be dialled back, `mute` answers no push any more,
`speak` does again, anything else is sent as it is, and its answer printed. The background thread takes whatever
one recv gives for one push, and answers it as the old one did.
"""

import socket
import threading

from old_program import connect, obey, say


class Client:
    def __init__(self):
        self.main = connect()
        self.listener = None
        self.answers = True

    def request(self, text):
        self.main.sendall(text.encode())
        answer = self.main.recv(1024)
        say("answer", answer.decode() if answer else "(closed)")

    def listen(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        threading.Thread(target=self.run_background, daemon=True).start()
        self.request("PORT|%d" % self.listener.getsockname()[1])

    def run_background(self):
        connection, _peer = self.listener.accept()
        say("background")
        while True:
            try:
                push = connection.recv(1024)
            except OSError:
                push = b""
            if not push:
                return say("background lost")
            # Whoever hears of the push may say `mute`, which is about the next one.
            answers = self.answers
            say("push", push.decode())
            fields = push.decode().split("|")
            if not answers:
                continue
            if fields[0] == "R" and len(fields) == 4:
                connection.sendall(("0|" + fields[2]).encode())
            elif fields[0] == "OK" and len(fields) == 4:
                connection.sendall(b"0|OK")
            elif push == b"OUT|OK":
                connection.close()
                return say("background over")
            else:
                connection.sendall(b"1|ERR")

    def command(self, line):
        if line == "listen":
            self.listen()
        elif line in ("mute", "speak"):
            self.answers = line == "speak"
            say(line)
        else:
            self.request(line)


obey(Client())
