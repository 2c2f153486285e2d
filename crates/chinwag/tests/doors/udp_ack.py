"""A client of the acknowledged UDP chat, written to behave like the old one: python3 udp_ack.py NAME IP PORT

One thread reads the socket, and the other one waits on the same socket for its acknowledgement, so that whichever is
first gets it. A message whose acknowledgement was eaten is therefore sent again, or to the server too.
"""

import select
import socket
import sys
import threading
import time

TIMEOUT, TRIES = 0.5, 5

name, server = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
table = {}
online = False
registered = threading.Event()
# The port is the system's choice, as it was with the old program, whatever its last argument said.
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 0))


def show(line):
    sys.stdout.write(line + "\n>>> ")
    sys.stdout.flush()


def hear(data, source):
    """What a datagram does, whoever of the two threads read it. Unknown names are an error, as they were."""
    global online
    words = data.decode().split()
    verb, rest = words[0], words[1:]
    if verb == "registered":
        online = True
        show(" ".join(rest))
        registered.set()
    elif verb == "please_signin":
        online = False
        show(" ".join(rest))
        registered.set()
    elif verb == "system_broadcast":
        table[rest[0]] = [rest[1], int(rest[2]), True]
        if online:
            show("[client table updated.]")
    elif verb in ("online", "offline"):
        table[rest[0]][2] = verb == "online"
        if online:
            show("[client table updated.]")
    elif verb == "Error":
        table[rest[1]][2] = False
        show(" ".join(rest))
    elif verb == "send" and online:
        show(rest[-1] + ": " + " ".join(rest[1:-1]))
        sock.sendto(f"ack_on [Message received by {name}]".encode(), source)
    elif verb == "Channel-Message" and online:
        show(" ".join(words))
        sock.sendto(f"ack_channel [Message received by {name}]".encode(), source)
    elif verb == "offline_message" and online:
        show(" ".join(rest))


def receive():
    while True:
        data, source = sock.recvfrom(2048)
        hear(data, source)


def ask(text, to, tries, ack):
    """Sends until this thread itself gets the acknowledgement."""
    for _ in range(tries):
        sock.sendto(text.encode(), to)
        until = time.monotonic() + TIMEOUT
        while (left := until - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            try:
                data, source = sock.recvfrom(2048, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if data.decode().split()[0] in (ack, "Error"):
                show(" ".join(data.decode().split()[1:]))
                return True
            hear(data, source)
    return False


def save(to, text):
    show(f"[No ACK from {to}, message sent to server. ]")
    # The date is written once, and again with each try.
    ask(f"save_message {name} {to} {time.ctime()} {text}", server, TRIES, "ack_off")


def typed(line):
    global online
    verb, *rest = line.split()
    if verb == "reg" and not online:
        sock.sendto(f"reg {name}".encode(), server)
        online = True
        show("[Welcome Back]")
    elif verb == "send" and online:
        address = table[rest[0]]
        text = " ".join(rest[1:])
        if not ask(f"send {rest[0]} {text} {name}", (address[0], address[1]), 1, "ack_on"):
            save(rest[0], text)
    elif verb == "send_all" and online:
        ask(f"send_all {' '.join(rest)} {name}", server, TRIES, "ack_group")
    elif verb == "dereg" and online:
        ask(f"signout {name}", server, TRIES, "dereg_suc")
        online = False
        show("[You are Offline. Bye.]")
    else:
        show("[Wrong Input]")


sys.stdout.write(">>> ")
sys.stdout.flush()
threading.Thread(target=receive, daemon=True).start()
sock.sendto(f"register {name}".encode(), server)
registered.wait()
for line in sys.stdin:
    typed(line)
