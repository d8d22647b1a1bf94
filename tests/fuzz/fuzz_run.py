"""Tries damaged files of every kind on the code that reads them: `python tests/fuzz/fuzz_run.py --rounds 1000`.

Each `kind_*.py` beside this file is a kind of file with two functions. `make_case(rng, folder)` writes files into an
empty folder, damaged as `rng` says, and returns a case. `try_case(case)` reads it, and returns "right", or "counted"
where what is broken was passed over and counted. It raises `AssertionError` for a wrong result. A `UsageError` or an
`UnreadableImage` of one line is a sentence; anything else that is raised is a traceback. A kind may state `MEMORY`, the
bytes that a case may take.

The cases run in a process of their own, with a limit of memory and of time for each. A case is a function of the seed,
the kind and its number, so that one that fails can be run alone: the last column of what is printed says how.
"""

import argparse
import importlib.util
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).parent
KINDS = sorted(path.stem.removeprefix("kind_") for path in HERE.glob("kind_*.py"))
# Packages that kinds need and that are extras.
NEEDED = {"dicom": "pydicom", "nifti": "nibabel"}
GOOD, BAD = ("right", "sentence", "counted"), ("wrong", "traceback", "hang", "killed")
MEMORY = 2**29
_SECONDS, _SECONDS_TO_START = 20, 120
_ENDINGS = ("\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")


def is_possible(kind):
    """Return whether what a kind needs is installed."""
    return kind not in NEEDED or importlib.util.find_spec(NEEDED[kind]) is not None


def run(kinds, rounds, seed=0, first=0):
    """Return the outcomes of each kind counted, failures as (kind, number, outcome, detail), and lines written."""
    pending = [(kind, number) for kind in kinds for number in range(first, first + rounds)]
    outcomes, failures, noise = defaultdict(Counter), [], Counter()
    while pending:
        results, noise_of_child = _run_child(pending, seed)
        noise += noise_of_child
        for (kind, number), (outcome, detail) in zip(pending, results, strict=False):
            outcomes[kind][outcome] += 1
            if outcome in BAD:
                failures.append((kind, number, outcome, detail))
        pending = pending[len(results) :]
    return outcomes, failures, noise


def _run_child(cases, seed):
    """Return the results of the cases up to the first that ends the process, and how many lines each kind wrote."""
    command = [sys.executable, __file__, "--child", "--seed", str(seed)]
    results, noise, buffer = [], Counter(), b""
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps(cases).encode())
        given.seek(0)
        child = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _SECONDS_TO_START
    while len(results) < len(cases):
        ready, _, _ = select.select([child.stdout], [], [], max(0, deadline - time.monotonic()))
        part = os.read(child.stdout.fileno(), 2**16) if ready else b""
        *lines, buffer = (buffer + part).split(b"\n")
        for outcome, detail, lines_written in map(json.loads, lines):
            noise[cases[len(results)][0]] += lines_written
            results.append((outcome, detail))
        if not part:
            break
        deadline = time.monotonic() + _SECONDS
    if len(results) < len(cases):
        results.append(("killed", "the process ended") if ready else ("hang", f"no end after {_SECONDS} seconds"))
    child.kill()
    child.wait()
    child.stdout.close()
    return results, noise


def _be_child(seed):
    sys.path.insert(0, str(HERE.parent.parent))  # this checkout, whatever is installed
    cases, answers = json.load(sys.stdin), os.fdopen(os.dup(1), "w")
    terminal = tempfile.TemporaryFile()  # noqa: SIM115  until the process ends
    os.dup2(terminal.fileno(), 1)
    os.dup2(terminal.fileno(), 2)
    for kind, number in cases:
        module, place = importlib.import_module(f"kind_{kind}"), os.lseek(terminal.fileno(), 0, os.SEEK_END)
        outcome, detail = _try(module, random.Random(f"{seed} {kind} {number}"))
        written = os.pread(terminal.fileno(), 2**20, place).count(b"\n")
        answers.write(json.dumps([outcome, detail, written]) + "\n")
        answers.flush()


def _try(module, rng):
    from maetool.data.codecs.images import UnreadableImage
    from maetool.errors import UsageError

    with tempfile.TemporaryDirectory() as folder:
        try:
            case = module.make_case(rng, Path(folder))
            _limit_memory(getattr(module, "MEMORY", MEMORY))
            outcome = module.try_case(case)
            assert outcome in GOOD, outcome
            return outcome, ""
        except (UsageError, UnreadableImage) as error:
            one_line = str(error) and not any(ending in str(error) for ending in _ENDINGS)
            return ("sentence", "") if one_line else ("traceback", f"not one line: {error!r}")
        except AssertionError:
            return "wrong", traceback.format_exc()
        except BaseException:
            return "traceback", traceback.format_exc()
        finally:
            _limit_memory(None)


def _limit_memory(more):
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard if more is None else taken + more, hard))


def table(outcomes, noise, seed, rounds):
    """Return the outcomes as a table in Markdown."""
    lines = [
        f"| kind | cases | {' | '.join((*GOOD, *BAD))} | lines on the terminal |",
        f"|{'---|' * (len(GOOD + BAD) + 3)}",
    ]
    for kind, counts in outcomes.items():
        numbers = " | ".join(f"{counts[outcome]:,}" for outcome in (*GOOD, *BAD))
        lines.append(f"| {kind} | {counts.total():,} | {numbers} | {noise[kind]:,} |")
    return "\n".join([f"Seed {seed}, {rounds:,} rounds of each kind.", "", *lines])


def main():
    """Run what the command line says, print the table and what failed, and end with 1 where anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _be_child(args.seed)
        return
    outcomes, failures, noise = run(args.kinds, args.rounds, args.seed, args.first)
    lines = [table(outcomes, noise, args.seed, args.rounds)]
    for kind, number, outcome, detail in failures:
        alone = f"--kinds {kind} --seed {args.seed} --first {number} --rounds 1"
        lines.append(f"\n{outcome}: python tests/fuzz/fuzz_run.py {alone}\n{detail}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
