"""Whether a command of the documentation would be taken: by the tool's own parser, by the configs and by the Makefile.

What is checked: the command, tool, script, target, extra or path is there; commands and torchrun parse their arguments
by their own parsers; a config exists, by path or by name, and its options name parts and arguments that exist;
variables set for a script stand in it. What is not: whether the data and checkpoints in capitals exist, and what
sbatch, pytest and mkdir do with their options; of `python -c` only the syntax.
"""

import argparse
import ast
import importlib
import re
import runpy
import shlex
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from doc_pages import ROOT
from torch.distributed.run import get_args_parser

from maetool.config.checks import check_config
from maetool.config.load import load_config, parse_runs
from maetool.config.paths import find_config
from maetool.config.replaced import check_reads_pictures

DEFAULT = "configs/mae/vit-b_800e.py"  # what a placeholder stands for where options are checked


def tool_module(path):
    name = Path(path).stem
    if Path(path).parts[0] == "examples":
        return SimpleNamespace(**runpy.run_path(str(ROOT / path)))
    return importlib.import_module("benchmarks.command" if name == "benchmark" else f"maetool.commands.{name}")


def parser_of(path):
    """Return the argument parser of a tool."""
    found = []
    with mock.patch.object(argparse.ArgumentParser, "parse_args", lambda self: found.append(self)):
        tool_module(path).parse_args()
    return found[0]


def options_of(path):
    """Return every option that a tool or one of its subcommands knows."""
    parser = parser_of(path)
    subcommands = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    parsers = [parser, *(p for action in subcommands for p in action.choices.values())]
    return {option for each in parsers for option in each._option_string_actions}


@contextmanager
def telling(command):
    """Turn the exit of a parser into an error that names the command."""
    told = []
    with mock.patch.object(argparse.ArgumentParser, "error", lambda self, message: told.append(message) or exit()):
        try:
            yield
        except SystemExit as end:
            raise AssertionError(f"{command}: {' '.join(told) or 'not parsed'}") from end


def braces(word):
    """Return the words that a shell makes of one with `{a,b}` in it."""
    found = re.search(r"\{([^{},]*(?:,[^{},]*)+)\}", word)
    if not found:
        return [word]
    choices = [word[: found.start()] + choice + word[found.end() :] for choice in found[1].split(",")]
    return [expanded for choice in choices for expanded in braces(choice)]


def check_command(command):
    """Raise AssertionError, or the tool's own UsageError, if the command of a page would not be taken."""
    words = [expanded for word in shlex.split(command, comments=True) for expanded in braces(word)]
    variables = {}
    while re.match(r"[A-Z_]+=", words[0]):
        name, variables[name] = words[0].split("=", 1)[0], words.pop(0)
    program, *rest = words
    name = program.removeprefix(".venv/bin/")
    assert name in CHECKS, f"{command}: nobody knows how to check {program}."
    if name.endswith(".sh"):
        assert all(variable in (ROOT / name).read_text() for variable in variables), command
    CHECKS[name](rest, command)


def check_python(words, command):
    if words[:2] == ["-m", "pytest"]:
        check_pytest(words[2:], command)
    elif words[:2] == ["-m", "maetool"]:
        check_maetool(words[2:], command)
    elif words[:2] == ["-m", "maetool.engine.processes"]:
        check_torchrun(words[2:], command)
    elif words[0] == "-c":
        compile(words[1], command, "exec")
    else:
        check_tool(words[0], words[1:], command)


def check_maetool(words, command):
    if words[0] not in ("--help", "--version"):
        check_tool(f"tools/{words[0].replace('-', '_')}.py", words[1:], command)


def check_pytest(words, command):
    assert all((ROOT / word).exists() for word in words if not word.startswith("-")), command


def check_make(words, command):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words and set(words) <= set(targets), command


def check_dist_train(words, command):
    assert words[0].isdigit(), command
    check_tool("tools/train.py", words[1:], command)


def check_stages(words, command):
    assert words[0].isdigit() and not words[2].startswith("-"), command
    check_tool("tools/train.py", [words[1], "--work-dir", *words[2:]], command)


def check_torchrun(words, command):
    with telling(command):
        parsed = get_args_parser().parse_args(words)
    if parsed.module:
        assert parsed.training_script == "maetool", command
        check_maetool(parsed.training_script_args, command)
    else:
        check_tool(parsed.training_script, parsed.training_script_args, command)


def check_sbatch(words, command):
    if "--wrap" in words:
        check_command(words[words.index("--wrap") + 1])
        return
    script = next(number for number, word in enumerate(words) if word.startswith("tools/"))
    assert (ROOT / words[script]).is_file(), command
    check_tool("tools/train.py", words[script + 1 :], command)


def check_pip(words, command):
    assert words[0] == "install", command
    known = (ROOT / "docs/dependencies.md").read_text()
    for word in (word for word in words[1:] if not word.startswith("-")):
        path, _, extra = word.rstrip("]").partition("[")
        assert (ROOT / path / "setup.py").is_file() or path in known, command
        assert not extra or extra in extras(), command


def extras():
    """Return the names of the extras in setup.py."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.keyword)]
    return {key.value for node in calls if node.arg == "extras_require" for key in node.value.keys}


def check_tool(tool, words, command):
    assert (ROOT / tool).is_file(), command
    with telling(command), mock.patch("sys.argv", [tool, *words]):
        args = tool_module(tool).parse_args()
    for word in words:
        if "::" in word or re.match(r"configs/.+\.py$", word):
            path_of(word)
    check_options(args)


def path_of(config):
    """Return the file of a config that is named or lies in the repository, or raise an error."""
    if config.startswith("maetool_stripes::"):  # the example plugin, which need not be installed
        return find_config(ROOT / "examples/plugin/maetool_stripes/configs" / config.partition("::")[2])
    return find_config(config if "::" in config else ROOT / config)


def check_options(args):
    """Check every set of options of a tool's arguments against the config that they change."""
    config = str(getattr(args, "config", None) or next(iter(getattr(args, "configs", None) or []), ""))
    config = path_of(config if "::" in config or (ROOT / config).is_file() else DEFAULT)
    if getattr(args, "data", None):
        check_reads_pictures(load_config(config).model.get("encoder"))
    sets = [getattr(args, "cfg_options", None) or getattr(args, "options", None) or []]
    runs = parse_runs(getattr(args, "run", None) or [])
    shares = parse_runs(
        (hasattr(args, "run") and getattr(args, "labels", None)) or []
    )  # `quick_eval --labels` has numbers
    sets += [[*(getattr(args, "common", None) or []), *options] for options in [*runs.values(), *shares.values()]]
    for options in filter(None, sets):
        check_config(load_config(config, options))


CHECKS = {
    "python": check_python,
    "maetool": check_maetool,
    "pip": check_pip,
    "pytest": check_pytest,
    "make": check_make,
    "mkdir": lambda words, command: None,
    "torchrun": check_torchrun,
    "sbatch": check_sbatch,
    "tools/dist_train.sh": check_dist_train,
    "tools/train_stages.sh": check_stages,
}
