#!/usr/bin/env bash
# The CPU stage of a run, store and plan: sbatch slurm/prepare.sh [CONFIG] [key=value ...] [--then JOB]
# With --then, JOB (requeued and held) starts when this one has ended well, and is cancelled otherwise.
#SBATCH --job-name=ecot-prepare
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -euo pipefail

cd "${ECOT_ROOT:-${SLURM_SUBMIT_DIR:-.}}"
source slurm/environment.sh
choose_runtime

settings=()
then=
while [ $# -gt 0 ]; do
    if [ "$1" = --then ]; then
        then=$2
        shift
    else
        settings+=("$1")
    fi
    shift
done
if [ ${#settings[@]} = 0 ]; then
    settings=("$ECOT_CONFIG")
fi

if [ -n "$then" ]; then
    trap 'scancel "$then"' ERR # rather than held for ever
    # It can be changed only when it has left its nodes.
    for _ in $(seq 120); do
        [ "$(squeue --noheader --job="$then" --format=%T)" = PENDING ] && break
        sleep 1
    done
    scontrol update JobId="$then" Dependency="afterok:$SLURM_JOB_ID"
    scontrol release "$then"
fi
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
srun "${srun_options[@]}" "${ecot_command[@]}" plan "${settings[@]}"
