#!/usr/bin/env bash
# The data-scale study as jobs that wait for each other, from the login node:
#   slurm/sweep.sh [sbatch options of the training jobs] -- [CONFIG] [key=value ...]
# ECOT_SWEEP_MODE: runs (default; arrays with one run per budget) or milestones (one run). ECOT_DRY_RUN=1 prints only.
# What a stage finds done already it does not do again, so the same command goes on after a failure.
set -euo pipefail
cd "${ECOT_ROOT:-$(dirname "$0")/..}"
source slurm/environment.sh
choose_runtime
: "${ECOT_SWEEP_MODE:=runs}"
: "${ECOT_EVAL_SBATCH:=--gres=gpu:1}" # sbatch options of the evaluation jobs
: "${ECOT_DRY_RUN:=}"

options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    options+=("$1")
    shift
done
shift || true
[ $# -gt 0 ] || set -- "$ECOT_CONFIG"
sweep=("$@" --mode "$ECOT_SWEEP_MODE")

# This runs here: with pyxis the login node's python3 needs the package too.
mapfile -t members < <("${ecot_command[@]}" sweep "${sweep[@]}" --members)
[ ${#members[@]} -gt 0 ] || fail "no members; see the message above"
list=$(dirname "${members[0]#* }")/$ECOT_SWEEP_MODE.txt
array=--array=0-$((${#members[@]} - 1))

job() {
    if [ -n "$ECOT_DRY_RUN" ]; then
        echo "sbatch $*" >&2
        echo JOB
    else
        submit "$@"
    fi
}
read -ra cpu_sbatch <<<"$ECOT_CPU_SBATCH"
read -ra eval_sbatch <<<"$ECOT_EVAL_SBATCH"
waits() { echo "--dependency=$1:$2 --kill-on-invalid-dep=yes"; }

# One stage of the study for the array's member, or for all of them.
stage=slurm/sweep_stage.sh
prepare=$(job "${cpu_sbatch[@]}" --job-name=sweep-prepare "$stage" prepare - "${sweep[@]}")
# shellcheck disable=SC2046 # two options
train=$(job $(waits afterok "$prepare") --job-name=sweep-train "$array" "${options[@]}" slurm/sft_32b.sh "@$list")
# shellcheck disable=SC2046
export=$(job $(waits aftercorr "$train") "${cpu_sbatch[@]}" --job-name=sweep-export "$array" "$stage" export "$list" "${sweep[@]}")
# shellcheck disable=SC2046
evaluate=$(job $(waits aftercorr "$export") "${eval_sbatch[@]}" --job-name=sweep-evaluate "$array" "$stage" evaluate "$list" "${sweep[@]}")
# shellcheck disable=SC2046
report=$(job $(waits afterok "$evaluate") "${cpu_sbatch[@]}" --job-name=sweep-report "$stage" report - "${sweep[@]}")
echo "prepare $prepare, train $train, export $export, evaluate $evaluate, report $report; members: ${members[*]%% *}"
