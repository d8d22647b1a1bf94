"""`maetool plot_logs` from a checkout; see maetool/commands/plot_logs.py."""

from maetool.commands import run_command

if __name__ == "__main__":
    run_command("plot_logs")
