#!/usr/bin/env bash
# Trains in stages, each with the encoder of the one before as teacher (dBOT):
# tools/train_stages.sh NUMBER_OF_STAGES CONFIG WORK_DIR [options of tools/train.py]
# Stages are WORK_DIR/stage1, WORK_DIR/stage2, ...; started again, it goes on where it was stopped.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: tools/train_stages.sh NUMBER_OF_STAGES CONFIG WORK_DIR [options of tools/train.py]" >&2
    exit 2
fi
stages=$1 config=$2 folder=$3
shift 3
tools=$(dirname "$0")
teacher=()
for stage in $(seq "$stages"); do
    work_dir=$folder/stage$stage
    "${PYTHON:-python}" "$tools/train.py" "$config" --work-dir "$work_dir" --resume "$@" "${teacher[@]}"
    teacher=(--cfg-options "model.target.checkpoint=$work_dir/$(basename "$(cat "$work_dir/last_checkpoint")")")
done
