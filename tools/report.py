"""`maetool report` from a checkout; see maetool/commands/report.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("report")
