"""`maetool compare` from a checkout; see maetool/commands/compare.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("compare")
