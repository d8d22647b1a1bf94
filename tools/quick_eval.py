"""`maetool quick_eval` from a checkout; see maetool/commands/quick_eval.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("quick_eval")
