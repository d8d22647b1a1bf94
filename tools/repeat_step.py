"""`maetool repeat_step` from a checkout; see maetool/commands/repeat_step.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("repeat_step")
