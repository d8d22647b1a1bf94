"""`maetool auto` from a checkout; see maetool/commands/auto.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("auto")
