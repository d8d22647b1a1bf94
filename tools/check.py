"""`maetool check` from a checkout; see maetool/commands/check.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("check")
