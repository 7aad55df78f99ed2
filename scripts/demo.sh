#!/usr/bin/env bash
# The main job, from real tool feedback to exported weights, in the commands that a user would type.
# Usage: scripts/demo.sh VENV [CONFIG]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$(cd "$1" && pwd)/bin:$PATH"
config=${2:-configs/demo.yaml}
run=runs/$(basename "$config" .yaml)

step() {
    printf '\n\033[1m$ ecot %s\033[0m\n' "$*"
    ecot "$@"
}

began=$SECONDS
step tasks verify builtin:chip_design
step synth "$config"
step plan "$config"
step train "$config"
step export "$run"
step eval "$config"
step report "$run"
printf '\ndone in %d s\n' $((SECONDS - began))
