"""`maetool neighbours` from a checkout; see maetool/commands/neighbours.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("neighbours")
