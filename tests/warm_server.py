"""The servers of `warm.py`: `python tests/warm_server.py SOCKET` forks a process for each request."""

import atexit
import contextlib
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
import weakref
from functools import partial
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from types import ModuleType

from warm import KILLED_AFTER, receive

HERE = Path(__file__).resolve().parent
# What maetool needs of others whatever it does. A second server has imported no more: there maetool is new.
BARE = ("torch", "mmengine.registry", "mmengine.model", "mmengine.runner", "pytest")
# What a run of MAE imports, as `maetool.engine.launch` imports a part only when a config names it.
IMPORTED = [
    *("torch", "torchvision", "cv2", "mmcv", "mmengine.runner", "torch.utils.flop_counter", "tqdm.auto", "pytest"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "maetool.engine.launch", "maetool.commands.train"),
    *("maetool.models.mim", "maetool.maskers.random", "maetool.encoders.vit", "maetool.decoders.transformer"),
    *("maetool.targets.pixel", "maetool.heads.regression", "maetool.data.drawn.shapes", "maetool.data.collate"),
    *("maetool.evaluation.losses", "maetool.engine.hooks.log", "maetool.engine.log_processor"),
    *("maetool.data.transforms.preprocessor", "maetool.visualization.curves", "maetool.engine.summary"),
    *("torch.distributed.run", "torch.distributed.launcher.api"),
]
_TORCHRUN = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"


def begin(place):
    """Serve at the socket `place` in this process, and at that with the ending .bare in a fork that ends with it."""
    sys.path += [str(HERE), str(HERE.parent)]
    _import(BARE)
    bare, line, ours = _listen(place.with_suffix(".bare")), *socket.socketpair()
    if os.fork() == 0:
        ours.close()
        del sys.path[-2:]  # what is installed is found, as in a process that begins cold
        serve(place.with_suffix(".bare"), bare, line=line)
    else:
        bare.close()
        line.close()
        _import(IMPORTED)
        serve(place, _listen(place), kept=ours)


def _import(names):
    for name in names:
        import_module(name)
    gc.freeze()  # so that the forks share what was imported


def _listen(place):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen(100)
    Path(f"{place}.new").rename(place)
    return listener


def serve(place, listener, line=None, kept=None):
    """Fork a process for each request that comes to the socket `place`, and tell when it ends and how.

    Args:
        place: the file of the socket.
        listener: the socket.
        line: a connection that keeps this server while it is open, beside those that ask for no words.
        kept: a connection that forks close.
    """
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ready, running, lines = selectors.DefaultSelector(), {}, int(line is not None)
    for each in filter(None, (listener, woken, line)):
        ready.register(each, selectors.EVENT_READ)
    own = [each for each in (listener, woken, wake, ready, line, kept) if each]
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                connection = listener.accept()[0]
                words, files = _request(connection)
                child = 0
                if words is None:  # a process that runs tests begins to
                    lines += 1
                    ready.register(connection, selectors.EVENT_READ)
                else:
                    child = _fork(words, files, (connection, *own, *running.values()))
                    running[child] = connection
                with contextlib.suppress(OSError):
                    connection.sendall(child.to_bytes(8, "big"))
            elif key.fileobj is woken:
                woken.recv(1000)
            else:  # a process that ran tests has ended
                ready.unregister(key.fileobj)
                key.fileobj.close()
                lines -= 1
                if not lines:
                    place.unlink(missing_ok=True)
                    place.with_suffix(".lock").unlink(missing_ok=True)
                    return
        for child, code in _ended(running):
            with contextlib.suppress(OSError), running.pop(child) as connection:
                connection.sendall(code.to_bytes(8, "big", signed=True))


def _fork(words, files, ours):
    """Return the id of a fork that runs what was asked for; ours: what belongs to the server, and is closed in it."""
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        os.setsid()
        for each in ours:
            each.close()
        run_here(**words, files=files)
    for file in files:
        os.close(file)
    return child


def _request(connection):
    """Return what a connection asks for, and its files; None if it only says that a process runs tests."""
    length, files, *_ = socket.recv_fds(connection, 8, 3)
    length = int.from_bytes(length, "big")
    if not length:
        for file in files:
            os.close(file)
        return None, []
    return json.loads(receive(connection, length)), files


def _ended(running):
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        if child in running:
            yield child, os.waitstatus_to_exitcode(status)


def run_here(words, cwd, environment, files=()):
    """Run the words as `run_warm` does in this process, a fork, which ends with them.

    Args:
        words, cwd, environment: see `run_warm`.
        files: of stdout and stderr, or of stdin and these.
    """
    weakref.finalize._registry.clear()  # what a program that was forked would do at its end, such as remove its folder
    util._finalizer_registry.clear()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files, start=3 - len(files)):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    unbuffered, words = words[0] == "-u", words[words[0] == "-u" :]
    sys.stdout.reconfigure(write_through=unbuffered)
    for name in ("maetool.cli", "maetool.engine.stopping", "maetool.auto.run"):
        if name in sys.modules:
            sys.modules[name].STARTED = time.monotonic()
    if _TORCHRUN in sys.modules:
        sys.modules[_TORCHRUN].Popen = Fork
    named = words[0] in ("-m", "-c")
    sys.argv = words[1:] if words[0] == "-m" else ["-c", *words[2:]] if named else words
    sys.path[0] = str(cwd) if named else str(Path(words[0]).parent.resolve())
    own = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[1:1] = own
    if environment.get("PYTHONSAFEPATH"):
        del sys.path[0]
    try:
        code = _exit_code(lambda: _RUN.get(words[0], runpy.run_path)(words[named], run_name="__main__"))
        atexit._run_exitfuncs()
    finally:
        code = _flushed(code)
    os._exit(code)


def _run_code(code, run_name):
    """Run the code as `python -c` does; classes of it can be found by what pickles them."""
    sys.modules[run_name] = ModuleType(run_name)
    exec(compile(code, "<string>", "exec"), vars(sys.modules[run_name]))


_RUN = {"-m": partial(runpy.run_module, alter_sys=True), "-c": _run_code}


def _flushed(code):
    """Write what is buffered, and return the exit code, which is Python's own where that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # as Python says, if it can
            with contextlib.suppress(OSError):
                os.write(2, b"Exception ignored in: " + repr(stream).encode() + b"\n")
            code = code or 120
    return code


def _exit_code(program):
    """Run the program and return the code that Python would end with."""
    try:
        program()
    except SystemExit as left:
        if isinstance(left.code, str):
            sys.stderr.write(f"{left.code}\n")
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class Fork:
    """Stands for the `Popen` of torchrun: its ranks are forks of it, and so begin warm, too."""

    def __init__(self, args, env, stdout, stderr, start_new_session):
        self.args, self.returncode = args, None
        self.pid = os.fork()
        if self.pid == 0:
            if start_new_session:
                os.setsid()
            files = [each.fileno() for each in (stdout, stderr) if each]
            run_here(list(args[1:]), os.getcwd(), env, files)

    def poll(self):
        """Return the exit code, None while the process runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit code."""
        end = time.monotonic() + (timeout or KILLED_AFTER)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self.returncode


if __name__ == "__main__":
    begin(Path(sys.argv[1]))
