"""The measurements of `python tools/benchmark.py`: a module per subcommand; `run` returns report and figures."""
