"""Commands in processes that begin warm, as forks of one that has imported torch and MMEngine: two seconds less each.

For tests of what a command says and writes. How a command starts is tested in processes that begin cold.
"""

import atexit
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What a run of MAE imports, as `maetool.engine.launch` imports a part only when a config names it.
IMPORTED = [
    *("torch", "torchvision", "cv2", "mmcv", "mmengine.runner", "torch.utils.flop_counter", "tqdm.auto"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "maetool.engine.launch", "maetool.commands.train"),
    *("maetool.models.mim", "maetool.maskers.random", "maetool.encoders.vit", "maetool.decoders.transformer"),
    *("maetool.targets.pixel", "maetool.heads.regression", "maetool.data.drawn.shapes", "maetool.data.collate"),
    *("maetool.evaluation.losses", "maetool.engine.hooks.log", "maetool.engine.log_processor"),
    *("maetool.data.transforms.preprocessor", "maetool.visualization.curves", "maetool.engine.summary"),
]
KILLED_AFTER = 300  # seconds


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


def run_warm(arguments, cwd, timeout=KILLED_AFTER, **variables):
    """Return what `subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)` does.

    Args:
        arguments: a file, or "-m" and a module, and their arguments; what is no text is made one.
        cwd: folder that the command runs in.
        timeout: seconds.
        variables: of its environment, beside those of the tests.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    words = [str(word) for word in arguments]
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        child = context.Process(target=run_here, args=(words, str(cwd), environment, *map(str, files)))
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(words, timeout, *(file.read_text() for file in files))
        return subprocess.CompletedProcess(words, child.exitcode, *(file.read_text() for file in files))


def run_here(words, cwd, environment, stdout, stderr):
    """Run the words as `run_warm` does, in this process, which ends with them; stdout and stderr are files."""
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    multiprocessing.set_start_method(None, force=True)  # as in a program that has not chosen yet
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words[1:] if words[0] == "-m" else words
    sys.path[0] = cwd if words[0] == "-m" else str(Path(words[0]).parent.resolve())
    try:
        code = _exit_code(words)
        atexit._run_exitfuncs()  # which `multiprocessing` leaves out
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _exit_code(words):
    """Run the program and return the code that Python would end with."""
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as left:
        if isinstance(left.code, str):
            sys.stderr.write(f"{left.code}\n")
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
