"""`maetool make_shapes` from a checkout; see maetool/commands/make_shapes.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("make_shapes")
