"""`maetool benchmark` from a checkout; see maetool/commands/benchmark.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("benchmark")
