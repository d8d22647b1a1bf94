"""`maetool doctor` from a checkout; see maetool/commands/doctor.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("doctor")
