"""`maetool list_configs` from a checkout; see maetool/commands/list_configs.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("list_configs")
