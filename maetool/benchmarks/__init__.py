"""What `maetool benchmark` measures: a module for each subcommand, whose `run` returns a report and its figures."""
