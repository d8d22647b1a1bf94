"""`maetool convert_checkpoint` from a checkout; see maetool/commands/convert_checkpoint.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("convert_checkpoint")
