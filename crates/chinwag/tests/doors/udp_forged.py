"""Forges the source of datagrams in a network of its own, and counts what is answered: python3 udp_forged.py PORT

The machine is 203.0.113.1; its neighbours exist only here. Prints "forged" once every source that is to be answered
has been, and goes on after a line of input; by then somebody has said something to all of them. Then it prints a line
for each source, "ADDRESS PORT SENT GOT", and a last one "done".
"""

import socket
import struct
import sys

ME, PORT = "203.0.113.1", int(sys.argv[1])
LINK = "forged0"

sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniffer.bind((LINK, 0))
sniffer.settimeout(30)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
sent, got, told = {}, {}, {}


def forge(address, port, text, expects=False):
    data = text if isinstance(text, bytes) else text.encode()
    udp = struct.pack("!HHHH", port, PORT, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                       socket.inet_aton(address), socket.inet_aton(ME))
    raw.sendto(head + udp, (ME, 0))
    key = (address, port)
    sent[key] = sent.get(key, 0) + len(data)
    got.setdefault(key, 0)
    if expects:
        wanted.add(key)


def listen_until(done):
    while not done():
        packet, where = sniffer.recvfrom(65536)
        if where[2] != socket.PACKET_OUTGOING or where[1] != 0x0800 or packet[9] != 17:
            continue
        size = (packet[0] & 15) * 4
        source, target, length = struct.unpack("!HHH", packet[size:size + 6])
        if source == PORT:
            key = (socket.inet_ntoa(packet[16:20]), target)
            got[key] = got.get(key, 0) + length - 8
            told.setdefault(key, []).append(packet[size + 8:size + length])


wanted = set()
# Garbage, and what names somebody else.
for number, text in enumerate(["", " ", "x", b"\xff" * 2048, "w " * 1000, "reg", "send a b c", "signout a",
                               "ack_on [Message received by a]"]):
    forge("203.0.113.20", 4000 + number, text)
# Ports of services that answer anything, and addresses that nobody has.
for port in (0, 7, 13, 17, 19, 53, 123, 1023):
    forge("203.0.113.21", port, "register reflector")
for address in ("203.0.113.255", "255.255.255.255", "224.0.0.1", "0.0.0.0"):
    forge(address, 4000, "register nobody")
forge(ME, PORT, "register itself")
# Five of one address and a minute become guests; the rest is silence. All copies of a datagram prove nothing.
for number in range(12):
    forge("203.0.113.22", 4000 + number, f"register flood{number}")
for number in range(20):
    for _ in range(3):
        forge(f"203.0.113.{30 + number}", 4000, f"register longname{number}")
    wanted.add((f"203.0.113.{30 + number}", 4000))
listen_until(lambda: all(got[key] for key in wanted))
# One proves its address by a second datagram, and is told everything.
proved = ("203.0.113.99", 4000)
forge(*proved, "register thelast")
listen_until(lambda: got[proved])
forge(*proved, "reg thelast")
listen_until(lambda: any(one.startswith(b"reg_suc") for one in told[proved]))
print("forged", flush=True)
sys.stdin.readline()
# It acknowledges nothing: by its last try everybody else would have had his first.
listen_until(lambda: sum(b"wake up" in one for one in told[proved]) == 5)
for (address, port), count in sent.items():
    print(address, port, count, got[(address, port)])
for key in got.keys() - sent.keys():
    print(*key, 0, got[key])
print("done")
