"""`maetool test` from a checkout; see maetool/commands/test.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("test")
