#!/usr/bin/env bash
# From the login node: the CPU stage, and the training job that waits for it.
#   slurm/submit.sh [sbatch options] -- [CONFIG] [key=value ...]
set -euo pipefail
cd "${ECOT_ROOT:-$(dirname "$0")/..}"
source slurm/environment.sh

options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    options+=("$1")
    shift
done
shift || true
[ $# -gt 0 ] || set -- "$ECOT_CONFIG"

cpu_options
prepare=$(submit "${cpu_sbatch[@]}" slurm/prepare.sh "$@")
train=$(submit --dependency="afterok:$prepare" --kill-on-invalid-dep=yes "${options[@]}" slurm/sft_32b.sh "$@")
echo "prepare $prepare, train $train"
