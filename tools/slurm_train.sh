#!/usr/bin/env bash
# Trains under Slurm, one task for each device, and goes on after a time limit or preemption:
#   sbatch --nodes 2 --ntasks-per-node 8 --gpus-per-task 1 --time 24:00:00 tools/slurm_train.sh CONFIG [options]
# Two minutes before the limit every task gets SIGUSR1, finishes its step and saves; the job then queues itself again.
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
if [ $# -lt 1 ]; then
    echo "usage: sbatch [options of Slurm] tools/slurm_train.sh CONFIG [options of tools/train.py]" >&2
    exit 2
fi
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export PYTHON=${PYTHON:-python}
# shellcheck disable=SC2016 # each task expands its own variables
srun --kill-on-bad-exit=1 bash -c \
    'RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID \
    exec "$PYTHON" tools/train.py "$@" --resume --launcher pytorch' train "$@" &
wait $!
code=$?
if [ "$code" -eq 75 ] && [ "${REQUEUE:-1}" = 1 ]; then
    echo "Saved; the job queues itself again."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
