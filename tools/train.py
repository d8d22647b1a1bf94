"""`maetool train` from a checkout; see maetool/commands/train.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("train")
