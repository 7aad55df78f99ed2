#!/usr/bin/env bash
# One stage of `ecot sweep` as a job, for the array's member: sweep_stage.sh STAGE LIST|- CONFIG [arguments of ecot sweep]
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

stage=$1
list=$2
shift 2
member=()
if [ "$list" != - ]; then
    member=(--only "$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$list" | cut -d' ' -f1)")
fi
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
srun "${srun_options[@]}" "${ecot_command[@]}" sweep "$@" --stage "$stage" "${member[@]}"
