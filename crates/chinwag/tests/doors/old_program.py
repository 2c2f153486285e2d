"""What the clients of the old wires share: commands in, lines out, and a receiver that ends as easily as the old ones'.
"""

import socket
import sys
import threading

LOCK = threading.Lock()


def say(*words):
    with LOCK:
        print(*words, flush=True)


def connect():
    """A connection to the door that the arguments name."""
    return socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)


def in_background(receive):
    """Runs the receiver, which returns when the connection has ended."""

    def run():
        try:
            receive()
            say("closed")
        except ConnectionError:
            say("closed")
        except Exception as error:  # As the old ones: whatever it is, this thread is over.
            say("dead", type(error).__name__, error)

    threading.Thread(target=run, daemon=True).start()


def obey(client):
    """Does what the lines of standard input say."""
    for line in sys.stdin:
        client.command(line.rstrip("\n"))
