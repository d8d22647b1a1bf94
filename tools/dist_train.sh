#!/usr/bin/env bash
# Trains on several devices of this machine: tools/dist_train.sh NUMBER CONFIG [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT, and start it on each.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: tools/dist_train.sh NUMBER_OF_PROCESSES CONFIG [options of tools/train.py]" >&2
    exit 2
fi
processes=$1
shift
tools=$(dirname "$0")
if [ "${NNODES:-1}" = 1 ]; then
    place=(--standalone)
else
    place=(--nnodes "$NNODES" --node-rank "${NODE_RANK:?}" --master-addr "${MASTER_ADDR:?}" --master-port "${MASTER_PORT:-29500}")
fi
exec "${PYTHON:-python}" -m maetool.engine.processes "${place[@]}" --nproc-per-node "$processes" \
    "$tools/train.py" "$@" --launcher pytorch
