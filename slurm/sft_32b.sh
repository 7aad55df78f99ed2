#!/usr/bin/env bash
# The SFT run: sbatch [options] slurm/sft_32b.sh [CONFIG] [key=value ...]        from the repository's root.
# Every #SBATCH line can be overridden on the command line, every variable in environment.sh beforehand.
#SBATCH --job-name=sft-32b
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=8
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -euo pipefail

cd "${ECOT_ROOT:-${SLURM_SUBMIT_DIR:-.}}"
if [ ! -f slurm/environment.sh ]; then
    echo "error: $PWD is not the repository's root; submit from there or set ECOT_ROOT" >&2
    exit 2
fi
source slurm/environment.sh
if [ -z "${SLURM_JOB_ID:-}" ]; then
    fail "start it with sbatch; slurm/submit.sh also runs the CPU stage before it"
fi
choose_runtime
if [ $# -gt 0 ]; then
    ECOT_CONFIG=$1
    shift
fi
if [ "${ECOT_CONFIG:0:1}" = @ ]; then # @LIST: the line "NAME CONFIG" of this array task
    ECOT_CONFIG=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "${ECOT_CONFIG:1}" | cut -d' ' -f2-)
fi
settings=("$ECOT_CONFIG" "$@")

# The number of an array's last task is that of the whole array, which a requeue must not touch.
self=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    self=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
attempt=${SLURM_RESTART_COUNT:-0}
logs=$ECOT_LOG_DIR/$SLURM_JOB_ID
export ECOT_ATTEMPT_DIR=$logs/attempt-$attempt
rm -rf "$ECOT_ATTEMPT_DIR"
mkdir -p "$ECOT_ATTEMPT_DIR"
say "attempt $attempt of job $SLURM_JOB_ID on $SLURM_JOB_NODELIST: logs in $ECOT_ATTEMPT_DIR"
exec 3>&1 >>"$ECOT_ATTEMPT_DIR/job.log" 2>&1 # `say` goes on telling sbatch's own output, too

# --- going on in another attempt --------------------------------------------------------------------------------------
requeue() {
    # After scancel or at the end of the time limit the job is no longer RUNNING, and must not come back by itself.
    if [ "$(squeue --noheader --job="$self" --format=%T)" != RUNNING ]; then
        say "$1, but the job is being ended: not requeued"
    elif [ "$attempt" -ge "$ECOT_MAX_REQUEUES" ]; then
        say "$1, but this was attempt $attempt of at most $ECOT_MAX_REQUEUES (ECOT_MAX_REQUEUES)"
    else
        say "$1: requeued"
        scontrol requeue "$self"
        sleep 60 # until Slurm ends this script
    fi
    exit "$EXIT_PREEMPTED"
}

signalled=
step=
# shellcheck disable=SC2329 # called by the trap
forward() {
    say "USR1: the ranks save and stop"
    signalled=1
    if [ -n "$step" ]; then
        kill -USR1 "$step" || true
    fi
}
trap forward USR1

# Run a job step in the background, where a signal can reach this shell, and wait for its end. Returns its status.
run_step() {
    local status=0
    srun "${srun_options[@]}" "$@" &
    step=$!
    # wait also ends when a trap has run; asked again afterwards it still knows the status.
    while kill -0 "$step" 2>/dev/null; do
        wait "$step" || true
    done
    wait "$step" || status=$?
    step=
    return "$status"
}

# --- before any GPU works: will it run, is the data there -------------------------------------------------------------
# srun of Slurm 22.05 and later does not take this over from sbatch.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
status=0
run_step --nodes=1 --ntasks=1 --ntasks-per-node=1 --output="$ECOT_ATTEMPT_DIR/preflight.log" \
    "${ecot_command[@]}" preflight "${settings[@]}" --gpus "$SLURM_NTASKS" --gpu "$ECOT_GPU" --prepared || status=$?
if [ -n "$signalled" ]; then
    requeue "signalled during the preflight"
fi
case $status in
    0) ;;
    "$EXIT_NOT_PREPARED")
        if [ -e "$logs/prepared" ]; then
            fail "the CPU stage ended well, but store and plan do not fit: $ECOT_ATTEMPT_DIR/preflight.log"
        fi
        say "store or plan are not there: the nodes go back until a CPU job has made them"
        cpu_options
        prepare=$(submit "${cpu_sbatch[@]}" --output="$logs/prepare-%j.log" slurm/prepare.sh "${settings[@]}" --then "$self")
        touch "$logs/prepared"
        say "CPU job $prepare"
        scontrol requeuehold "$self" # prepare.sh makes this job depend on itself and releases it
        sleep 60
        exit "$EXIT_PREEMPTED"
        ;;
    *) fail "the preflight refuses this run: $ECOT_ATTEMPT_DIR/preflight.log" ;;
esac

if [ -n "$ECOT_LOCAL_DIR" ]; then
    settings+=("train.local_copy=$ECOT_LOCAL_DIR/$SLURM_JOB_ID")
    run_step --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --output="$ECOT_ATTEMPT_DIR/copy-%t.log" \
        "${ecot_command[@]}" train "${settings[@]}" --copy-only || fail "no copy on local disks: $ECOT_ATTEMPT_DIR/copy-*.log"
fi
if [ -n "$signalled" ]; then
    requeue "signalled before training"
fi

# --- one task per GPU -------------------------------------------------------------------------------------------------
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# NodeAddr is where Slurm itself finds the node; mostly its name.
MASTER_ADDR=$(scontrol show node "$first" | grep -o 'NodeAddr=[^ ]*' | cut -d= -f2)
# Below the ports that the kernel hands out, and another one for every job and attempt.
MASTER_PORT=${ECOT_MASTER_PORT:-$((10000 + (SLURM_JOB_ID * 13 + attempt) % 20000))}
export MASTER_ADDR MASTER_PORT
# Until the first checkpoint holds the run's id, this keeps all attempts in one wandb run.
export WANDB_RUN_ID=${WANDB_RUN_ID:-$SLURM_JOB_NAME-$SLURM_JOB_ID}
say "training on $SLURM_NTASKS ranks, rendezvous at $MASTER_ADDR:$MASTER_PORT"
status=0
run_step --kill-on-bad-exit=1 --output="$ECOT_ATTEMPT_DIR/rank-%t.log" \
    slurm/rank.sh "${ecot_command[@]}" train "${settings[@]}" || status=$?

# --- how it ended: each rank has left its status in exit-<rank> -------------------------------------------------------
ended_with() { grep -qsx "$1" "$ECOT_ATTEMPT_DIR"/exit-*; }
if [ "$status" = 0 ] && ! ended_with "$EXIT_PREEMPTED"; then
    say "done"
    exit 0
fi
if [ -n "$signalled" ] || ended_with "$EXIT_PREEMPTED"; then
    requeue "preempted (step status $status)"
fi
say "the step ended with status $status; what the ranks said last:"
tail -n 5 "$ECOT_ATTEMPT_DIR"/rank-*.log
if ended_with 2; then
    fail "a rank refused to go on (exit status 2), which another attempt would not change"
fi
echo "attempt $attempt: status $status" >>"$logs/failures"
if [ "$(wc -l <"$logs/failures")" -le "$ECOT_MAX_FAILURES" ]; then
    requeue "failed"
fi
exit 1
