#!/bin/sh
# Checks and measures maetool on one GPU, from a checkout, without internet, in under ten minutes:
#     sh benchmarks/gpu.sh [FILE]
# FILE, by default gpu.md, gets a table of checks and several of speed; it is complete after every row. Each check and row
# runs in a process of its own if the one before it failed. Other libraries are measured if they are installed.
set -eu
file=$(realpath -m "${1:-gpu.md}")
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # for kernels that repeat to the bit
"$python" tools/benchmark.py gpu --out "$file"
