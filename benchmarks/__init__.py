"""What `python tools/benchmark.py` measures: a module for each subcommand, whose `run` returns report and figures."""
