"""`maetool list_components` from a checkout; see maetool/commands/list_components.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("list_components")
