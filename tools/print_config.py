"""`maetool print_config` from a checkout; see maetool/commands/print_config.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("print_config")
