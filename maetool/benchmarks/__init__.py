"""What `tools/benchmark.py` measures: a module for each subcommand, whose `run` returns a report and its figures."""
