#!/usr/bin/env bash
# One task of the training step, which is one rank on one GPU: rank.sh COMMAND...
# Leaves the command's status in $ECOT_ATTEMPT_DIR/exit-<rank>.
set -uo pipefail

# Some kinds of process tracking signal only a task's first process, which is this shell, so it passes signals on.
rank=
for name in USR1 TERM; do
    # shellcheck disable=SC2064
    trap "[ -z \"\$rank\" ] || kill -$name \"\$rank\" 2>/dev/null" "$name"
done
"$@" &
rank=$!
# wait also ends when a trap has run; asked again afterwards it still knows the status.
while kill -0 "$rank" 2>/dev/null; do
    wait "$rank"
done
wait "$rank"
status=$?
echo "$status" >"$ECOT_ATTEMPT_DIR/exit-$SLURM_PROCID"
case $status in
    # Saved and stopped. Reported as a failure it would have srun kill the ranks that are still leaving.
    75) exit 0 ;;
    # The first failure ends all tasks: give the others' watchdogs the time to print their stacks.
    0 | 2) ;;
    *) sleep "$ECOT_LINGER" ;;
esac
exit "$status"
