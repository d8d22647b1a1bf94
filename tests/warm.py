"""Commands in processes that begin warm, as forks of one that has imported torch and MMEngine: five seconds less each.

For tests of what a command does, says and writes, and of signals to it. How a command starts is tested in processes
that begin cold. One server, `warm_server.py`, serves all processes that run tests, and ends with the last one. A bare
one beside it has imported nothing of maetool, for tests of what is imported.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

SERVER, CLIENT = (Path(__file__).with_name(f"warm_{name}.py") for name in ("server", "python"))
KILLED_AFTER = 300  # seconds
_COMES_UP = 200  # seconds that the server may take to import all that


def run_job(arguments, cwd, number=2):
    """Return what each of the processes of a job comes to, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number}
    shared |= {"TORCHELASTIC_RUN_ID": "none", "GROUP_RANK": 0}
    with ThreadPoolExecutor(number) as pool:
        ranks = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(number)]
        return list(pool.map(lambda variables: run_warm(arguments, cwd, **variables), ranks))


def run_warm(arguments, cwd, timeout=KILLED_AFTER, bare=False, **variables):
    """Return what `subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)` does.

    Args:
        arguments: a file, "-m" and a module, or "-c" and code, and their arguments; what is no text is made one.
        cwd: folder that the command runs in.
        timeout: seconds.
        bare: whether maetool and what few of its parts need is still to be imported.
        variables: of its environment, beside those of the tests.
    """
    process = start_warm(arguments, cwd, bare=bare, **variables)
    try:
        stdout, stderr = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def warm_python(folder):
    """Return a program, written into a folder, that scripts may start as Python: what it runs begins warm.

    It takes what `run_warm` does. Signals to it do not reach what it runs.
    """
    _keep_server()
    program = Path(folder, "python")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {CLIENT} {_place()} "$@"\n')
    program.chmod(0o755)
    return str(program)


def start_warm(arguments, cwd, output=None, bare=False, **variables):
    """Start what `run_warm` runs in a session of its own; the result is used as a `subprocess.Popen`.

    Args:
        arguments, cwd, bare, variables: see `run_warm`.
        output: an open file for stdout and stderr, instead of a pipe for each.
    """
    words = [str(word) for word in arguments]
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    pipes = [] if output else [os.pipe(), os.pipe()]
    ends = [write for _, write in pipes] or [output.fileno()] * 2
    connection = _connect(bare)
    request = json.dumps({"words": words, "cwd": str(cwd), "environment": environment}).encode()
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], ends)
    connection.sendall(request)
    for _, write in pipes:
        os.close(write)
    return Warm(words, connection, *(os.fdopen(read) for read, _ in pipes))


class Warm:
    """A process of the server; attributes and methods are those of `subprocess.Popen`."""

    def __init__(self, args, connection, stdout=None, stderr=None):
        self.args, self.stdout, self.stderr, self.returncode = args, stdout, stderr, None
        self._connection = connection
        self.pid = int.from_bytes(receive(connection, 8), "big")

    def poll(self):
        """Return the exit code, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit code."""
        if self.returncode is None:
            with selectors.DefaultSelector() as ready:
                ready.register(self._connection, selectors.EVENT_READ)
                if not ready.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int.from_bytes(receive(self._connection, 8), "big", signed=True)
            self._connection.close()
        return self.returncode

    def communicate(self, timeout=None):
        """Return what is still to be read of stdout and stderr."""
        read = [_reading(stream) for stream in (self.stdout, self.stderr)]
        self.wait(timeout)
        return tuple(each.result(60) for each in read)

    def send_signal(self, number):
        """Send a signal to a process that runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def _reading(stream):
    """Return the future of all that a stream still gives."""
    text = Future()

    def read():
        with stream:
            text.set_result(stream.read())

    threading.Thread(target=read, daemon=True).start()
    return text


def receive(connection, number):
    """Return so many bytes of a connection."""
    data = b""
    while len(data) < number:
        more = connection.recv(number - len(data))
        if not more:
            raise EOFError("the server of warm processes has ended")
        data += more
    return data


def _connect(bare):
    """Return a new connection to a server."""
    _keep_server()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(_place().with_suffix(".bare") if bare else _place()))
    return connection


@cache
def _place():
    return Path(tempfile.gettempdir(), f"warm_{os.environ.get('PYTEST_XDIST_TESTRUNUID') or os.getpid()}"[:60])


@cache
def _keep_server():
    """Start the server if no other process that runs tests has; it lives while this connection, or another, does."""
    place = _place()
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        end = time.monotonic() + _COMES_UP
        server, quiet = None, {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        while time.monotonic() < end and (server is None or server.poll() is None):
            with contextlib.suppress(OSError, EOFError):
                line = socket.socket(socket.AF_UNIX)
                line.connect(str(place))
                socket.send_fds(line, [bytes(8)], [lock.fileno()])  # a request of no words: it stays open
                receive(line, 8)
                return line
            if server is None:
                for each in (place, place.with_suffix(".bare")):
                    each.unlink(missing_ok=True)
                server = subprocess.Popen([sys.executable, SERVER, place], start_new_session=True, **quiet)
            time.sleep(0.05)
    raise RuntimeError("the server of warm processes does not come up")
