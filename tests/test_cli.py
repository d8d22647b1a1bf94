"""How a tool ends."""

import errno
import os
import re
import subprocess
import sys

import pytest
from warm import run_warm, warm_python

from maetool.cli import FAILED_EXIT, INTERRUPTED_EXIT, USAGE_EXIT, run
from maetool.errors import UsageError

KILLED = """
import os, signal
from torch.utils.data import DataLoader
from maetool.cli import run

class Dies:
    def __len__(self):
        return 4
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)

run(lambda: list(DataLoader(Dies(), num_workers=1)))
"""


def test_a_loading_process_that_is_killed_is_one_sentence():
    done = run_warm(["-c", KILLED], ".")
    assert done.returncode == FAILED_EXIT
    assert "error: A loader worker was killed (DataLoader worker" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("said", ["shapes differ", "Caught RuntimeError in DataLoader worker process 0."])
def test_other_errors_keep_their_traceback(said):
    def main():
        raise RuntimeError(said)

    with pytest.raises(RuntimeError, match=said):
        run(main)


def wrapped():
    """As MMEngine's formatting of a config does."""
    try:
        raise KeyboardInterrupt
    except:  # noqa: E722
        raise SyntaxError("Failed to format the config file") from None


def as_usage():
    try:
        wrapped()
    except SyntaxError as error:
        raise UsageError("The config is wrong.") from error


@pytest.mark.parametrize("main", [wrapped, as_usage])
def test_an_error_that_ctrl_c_caused_is_ctrl_c(capsys, main):
    with pytest.raises(SystemExit) as left:
        run(main)
    assert left.value.code == INTERRUPTED_EXIT
    assert "Stopped." in capsys.readouterr().err


PRESSED = """
import os, signal
from maetool.cli import run

def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
    raise FileNotFoundError("a queue")  # later, and in no connection with it

run(lambda: run(main))
"""


def test_an_error_after_ctrl_c_is_ctrl_c():
    done = subprocess.run([sys.executable, "-c", PRESSED], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (INTERRUPTED_EXIT, False)


PRINTS = """
import sys
from maetool.cli import run

def main():
    for number in range(20_000):  # more than a pipe and a reader hold
        print(number)
        print(number, file=sys.stderr)
    open(sys.argv[1], "w").write("done")

run(main)
"""


@pytest.mark.parametrize("flags", [[], ["-u"]])
@pytest.mark.parametrize("streams", ["| head -1", "2>&1 | head -1", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_output_that_nobody_reads_does_not_end_the_work(tmp_path, streams, flags):
    command = f'"$@" {streams}; exit "${{PIPESTATUS[0]}}"'
    python = [sys.executable, *flags, "-c", PRINTS, str(tmp_path / "done")]
    done = subprocess.run(["bash", "-c", command, "bash", *python], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "done").read_text() == "done"
    assert "BrokenPipe" not in done.stderr
    assert "head" not in streams or done.stdout == "0\n"


BEGIN_FAST = ("list_configs", "--help", "train --help", "list_configs --help")


@pytest.mark.parametrize(
    "command", ["list_configs", "list_components", "--help", "print_config configs/mae/vit-t_shapes.py"]
)
def test_tables_are_cut_without_an_error(repository, tmp_path, command):
    program = sys.executable if command in BEGIN_FAST else warm_python(tmp_path)
    line = f"{program} -m maetool {command} | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(["bash", "-c", line], cwd=repository, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


IN_TRANSIT = """
import os, signal, time
import torch
from torch.utils.data import DataLoader
from maetool.cli import run

class Data(list):
    def __getitem__(self, index):
        return torch.ones(1000)

def main():
    loading = iter(DataLoader(Data(range(8)), num_workers=1))
    time.sleep(2)  # batches are on their way
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = loading._workers[0]
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    worker.is_alive = lambda: True  # the system may tell of its end only later
    list(loading)

run(main)
"""


def test_a_loading_process_that_is_killed_with_a_batch_on_its_way_is_one_sentence():
    done = run_warm(["-c", IN_TRANSIT], ".", timeout=60)
    assert done.returncode == FAILED_EXIT
    assert "error: A loader worker was killed (" in done.stderr
    assert "Traceback" not in done.stderr


FULL = """
import torch
from torch.utils.data import DataLoader
from maetool.cli import run
from maetool.data import collate_samples

class Data(list):
    def __getitem__(self, index):
        return {"inputs": torch.ones(100_000)}

run(lambda: list(DataLoader(Data(range(8)), 4, num_workers=1, collate_fn=collate_samples)))
"""


def test_full_shared_memory_is_one_sentence():
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("only who may mount can make /dev/shm small")
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", FULL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == FAILED_EXIT
    assert "error: The shared memory (/dev/shm) of the loader workers is full (" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["closed", b"caf\xe9"])
def test_a_path_that_the_system_does_not_open_is_one_sentence(capsys, path):
    def main():
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(SystemExit) as left:
        run(main)
    said = r"error: (closed|caf\\xe9) cannot be used \(Permission denied\): make it accessible to this user, or name"
    assert left.value.code == USAGE_EXIT
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize("error", [FileNotFoundError("a file"), ConnectionResetError("a server"), OSError(28, "full")])
def test_other_errors_of_the_system_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)):
        run(main)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize(
    ("flag", "command"),
    [
        *[("", command) for command in ("--help", "train --help", "list_components", "print_config {}")],
        ("-u", "list_configs --help"),
    ],
)
def test_a_full_disk_is_one_sentence(repository, tmp_path, flag, command):
    program = sys.executable if command in BEGIN_FAST else warm_python(tmp_path)
    line = f"{program} {flag} -m maetool {command.format('configs/mae/vit-t_shapes.py')} > /dev/full"
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(["bash", "-c", line], cwd=repository, capture_output=True, text=True, env=environment)
    sentence = "The output could not be written (No space left on device): free disk space, or redirect it elsewhere."
    assert (done.returncode, done.stderr) == (FAILED_EXIT, f"\nerror: {sentence}\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize(
    ("streams", "code"), [("> /dev/full", 1), ("2> /dev/full", 0), ("> /dev/full 2>&1", 1), ("1< /dev/null", 1)]
)
def test_a_full_disk_does_not_end_the_work(tmp_path, streams, code):
    line = f'"$@" {streams}'
    python = [sys.executable, "-c", PRINTS, str(tmp_path / "done")]
    done = subprocess.run(["bash", "-c", line, "bash", *python], capture_output=True, text=True, timeout=60)
    assert (done.returncode, (tmp_path / "done").read_text()) == (code, "done")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_terminal_that_is_closed_does_not_end_the_work(tmp_path):
    ours, theirs = os.openpty()
    python = [sys.executable, "-c", f"import time; time.sleep(1)\n{PRINTS}", str(tmp_path / "done")]
    process = subprocess.Popen(python, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.close(ours)
    assert process.wait(60) == 0
    assert (tmp_path / "done").read_text() == "done"
