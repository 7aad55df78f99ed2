# Settings and functions of the job scripts, to be sourced from the repository's root. docs/slurm.md explains each variable.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by the scripts that source it

: "${ECOT_CONFIG:=configs/sft_32b.yaml}"    # the run; the first argument of a job script takes precedence
: "${ECOT_RUNTIME:=venv}"                   # venv | pyxis | apptainer
: "${ECOT_VENV:=$PWD/.venv}"                # venv: where the package is installed
: "${ECOT_IMAGE:=}"                         # pyxis, apptainer: image that holds the package
: "${ECOT_MOUNTS:=$PWD:$PWD}"               # pyxis, apptainer: what the image sees, SRC:DST[,SRC:DST...]
: "${ECOT_GPU:=auto}"                       # name for the preflight's memory and speed; auto asks nvidia-smi
: "${ECOT_LOG_DIR:=$PWD/runs/slurm}"        # logs: <this>/<job>/attempt-<n>/
: "${ECOT_LOCAL_DIR:=}"                     # node-local disk to stage weights, store and plan on; empty: do not
: "${ECOT_MAX_REQUEUES:=100}"               # how often a preempted job goes on by itself
: "${ECOT_MAX_FAILURES:=2}"                 # how often a job goes on after a crash or a hang
: "${ECOT_CPU_SBATCH:=}"                    # sbatch options of the CPU stages, for example "--partition=cpu"
: "${ECOT_LINGER:=10}"                      # seconds between a rank's failure and the end of the others

readonly EXIT_NOT_PREPARED=3 EXIT_PREEMPTED=75   # ecot/train/exit_status.py
export ECOT_LINGER

say() {
    local line
    line="$(date '+%F %T') $*"
    echo "$line"
    if { true >&3; } 2>/dev/null; then echo "$line" >&3; fi
}

fail() {
    say "error: $*" >&2
    exit 2
}

# The command in `ecot_command`, and what srun needs for it in `srun_options`.
choose_runtime() {
    srun_options=()
    case $ECOT_RUNTIME in
        venv)
            [ -x "$ECOT_VENV/bin/python" ] || fail "ECOT_VENV=$ECOT_VENV holds no bin/python; install the package there"
            ecot_command=("$ECOT_VENV/bin/python" -m ecot)
            ;;
        pyxis)
            [ -n "$ECOT_IMAGE" ] || fail "ECOT_RUNTIME=pyxis needs ECOT_IMAGE, an image of the registry or a .sqsh file"
            srun_options=(--container-image="$ECOT_IMAGE" --container-mounts="$ECOT_MOUNTS" --container-workdir="$PWD")
            ecot_command=(python3 -m ecot)
            ;;
        apptainer)
            [ -n "$ECOT_IMAGE" ] || fail "ECOT_RUNTIME=apptainer needs ECOT_IMAGE, a .sif file"
            ecot_command=(apptainer exec --nv --bind "$ECOT_MOUNTS" --pwd "$PWD" "$ECOT_IMAGE" python3 -m ecot)
            ;;
        *) fail "ECOT_RUNTIME=$ECOT_RUNTIME; choose venv, pyxis or apptainer" ;;
    esac
}

# sbatch from inside a job: without this job's own variables, which the new one would take for its options.
submit() {
    (
        for name in ${!SLURM_@} ${!SRUN_@} ${!SBATCH_@}; do
            [ "$name" = SLURM_CONF ] || unset "$name"
        done
        sbatch --parsable "$@"
    )
}

# Words of $ECOT_CPU_SBATCH as an array: it holds several options in one string.
cpu_options() { read -ra cpu_sbatch <<<"$ECOT_CPU_SBATCH"; }
