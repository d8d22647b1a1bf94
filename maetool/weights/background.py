"""Writes a checkpoint in a thread, while training goes on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .work_dir import save_as_last
from .write import write_checkpoint


class BackgroundWriter:
    """Writes one checkpoint at a time, and moves the pointer `last_checkpoint` to it once it is complete.

    Attributes:
        path: of the file that was begun and not waited for; None if there is none. Several processes, of which one
            writes, all set it.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def start(self, state: Mapping[str, Any], path: Path) -> None:
        """Begin to write; the one before must be finished.

        Args:
            state: what is stored, which nobody changes meanwhile; see `snapshot`.
            path: of the file.
        """
        assert self._thread is None, "the checkpoint before was not waited for"
        self.path, self._error = path, None
        self._thread = Thread(target=self._write, args=(state, path), name="checkpoint", daemon=True)
        self._thread.start()

    def _write(self, state: Mapping[str, Any], path: Path) -> None:
        try:
            write_checkpoint(state, path)
            save_as_last(path)
        except BaseException as error:  # whoever waits raises it
            self._error = error

    def join(self) -> None:
        """Wait until nothing is being written; `wait` still reports on it."""
        if self._thread is not None:
            self._thread.join()

    def wait(self) -> None:
        """Wait until the file that was begun is written.

        Raises:
            UsageError: the file or the pointer could not be written.
        """
        self.join()
        error, self._error, self._thread, self.path = self._error, None, None, None
        if error is not None:
            raise error


def snapshot(state: Any, needs_copy: Callable[[Tensor], bool] = lambda _: True) -> Any:
    """Return a state with its tensors on the CPU, in memory that training does not change.

    Args:
        state: tensors in dicts and lists.
        needs_copy: whether a tensor that is on the CPU already may change.
    """

    def copied(x: Tensor) -> Tensor:
        on_host = x.device.type == "cpu"
        return x.detach().clone() if on_host and needs_copy(x) else x.detach().cpu()

    with torch.no_grad():
        return tree_map_only(Tensor, copied, state)
