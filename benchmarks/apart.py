"""Functions in a process of their own: what breaks there, or takes too long, leaves the others alone."""

import multiprocessing
from collections.abc import Callable
from typing import Any


class ApartError(Exception):
    """A function failed in its process, ended the process, or took too long; the text says which."""


class Apart:
    """One process that runs functions one after the other; after a failure a new one takes its place.

    An error of CUDA breaks everything that a process does afterwards, and a compiler cannot be interrupted otherwise.
    """

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """Return what a function returns.

        Args:
            function: of a module, so that the process can import it.
            arguments: of the function.
            seconds: after which its process is ended, start included.

        Raises:
            ApartError: the function did not return.
        """
        if self._process is None:
            self._start()
        self._connection.send((function, arguments))
        failure = f"took longer than {seconds:.0f} s"
        try:
            if self._connection.poll(seconds):
                fine, result = self._connection.recv()
                if fine:
                    return result
                failure = result
        except EOFError:
            self._process.join()
            failure = f"its process ended with code {self._process.exitcode}"
        self.close()
        raise ApartError(failure)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))  # no daemon: loaders start processes
        self._process.start()
        theirs.close()  # so that the end of the process ends the connection


def _serve(connection: Any) -> None:
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = True, function(*arguments)
        except Exception as error:  # reported, and the process is replaced
            answer = False, f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        connection.send(answer)
