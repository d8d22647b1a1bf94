"""`warm_python.py SOCKET ARGUMENTS` runs arguments of Python in a fork of the server there; see `warm.warm_python`."""

import json
import os
import socket
import sys


def main(place, *words):
    """Return the exit code; the fork has the streams, the folder and the environment of this process."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    request = json.dumps({"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}).encode()
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(request)
    _, code = (int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big", signed=True) for _ in ("its id", "code"))
    return code if code >= 0 else 128 - code  # as a shell tells a signal


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
