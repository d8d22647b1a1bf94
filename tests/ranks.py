"""A function of a test, run by each process of a group."""

import json
import os
import runpy
import sys
from pathlib import Path

from torch import distributed
from warm import run_job


def run_ranks(function, *arguments, number=2):
    """Run `function(rank, *arguments)` in the processes of a group; all must end without an error.

    They are forks of the warm server, which computes nothing. In a fork of a process that runs tests torch refuses a
    backward pass if one ran in that process before, and so a test would depend on those before it.

    Args:
        function: one of a module, which the processes read again.
        arguments: what JSON can hold.
        number: of processes.
    """
    file = Path(function.__code__.co_filename)
    results = run_job([__file__, file, function.__name__, json.dumps(arguments)], file.parent, number)
    output = "".join(result.stderr[-3000:] for result in results)
    assert [result.returncode for result in results] == [0] * number, output


def leave():
    """Leave once all ranks are done; skip the interpreter's shutdown, in which a thread of gloo may abort."""
    distributed.barrier()
    distributed.destroy_process_group()
    os._exit(0)


def _main():
    file, name, arguments = sys.argv[1:]
    sys.path.insert(0, str(Path(file).parent))
    function = runpy.run_path(file)[name]
    distributed.init_process_group("gloo")
    function(distributed.get_rank(), *json.loads(arguments))
    leave()


if __name__ == "__main__":
    _main()
