"""The commands, one file each: `maetool train CONFIG`.

The docstring of a file is the help of its command; `maetool --help` lists its first line.
"""

import ast
import difflib
import os
import sys
from importlib import import_module
from pathlib import Path

from maetool.cli import RESUME_HINT, run
from maetool.errors import UsageError

GROUPS = {
    "Training": ("auto", "train", "test", "compare", "plot_logs", "report", "repeat_step"),
    "Data": ("check", "dataset_stats", "prepare_dataset", "make_shapes"),
    "Trained models": (
        *("visualize_reconstruction", "quick_eval", "neighbours", "predict", "extract_features", "export_encoder"),
    ),
    "Checkpoints and tokenizers": ("convert_checkpoint", "convert_tokenizer", "fit_centroids"),
    "Configs and parts": ("list_configs", "print_config", "list_components", "browse_masks"),
    "This machine": ("doctor",),
}
_FOLDER = Path(__file__).parent


def main() -> None:
    """Run the command named on the command line, or list all commands."""
    run(_dispatch, "Stopped.")


def run_command(name: str) -> None:
    """Run one command on the arguments in `sys.argv`, with the current folder on the import path for the user's parts.

    Args:
        name: file name in this folder, without suffix.
    """
    _add_current_folder()
    module = import_module(f"maetool.commands.{name}")
    run(module.main, getattr(module, "INTERRUPTED", RESUME_HINT))


def command_names() -> list[str]:
    """Return the names of all commands."""
    return sorted(path.stem for path in _FOLDER.glob("[!_]*.py"))


def _dispatch() -> None:
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_overview())
        return
    if name == "--version":
        from maetool import __version__

        print(f"maetool {__version__}")
        return
    known, command = command_names(), name.replace("-", "_")
    if command not in known:
        near = difflib.get_close_matches(command, known, n=3) or known
        raise UsageError(f"There is no command `{name}`; did you mean {', '.join(near)}? `maetool --help` lists all.")
    sys.argv = [f"maetool {command}", *arguments]
    run_command(command)


def _overview() -> str:
    lines = ["usage: maetool COMMAND [ARGUMENTS]", "", "`maetool COMMAND --help` lists the arguments of a command."]
    for group, names in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<26}{_summary(name)}" for name in names)]
    return "\n".join(lines)


def _summary(name: str) -> str:
    """Return the first line of a command's docstring, read without importing the command."""
    text = ast.get_docstring(ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].rstrip(".")


def _add_current_folder() -> None:
    # Last, so that a user's file does not shadow an installed package of the same name.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
