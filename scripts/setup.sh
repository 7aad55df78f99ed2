#!/usr/bin/env bash
# Set up everything that `make demo` and `make test` need: system tools, a virtual environment, the package.
# Usage: scripts/setup.sh VENV EXTRA...     (EXTRA: extras of pyproject.toml; `domains` also brings the system tools of
#                                            all domains and a local Slurm, about 1.5 GB)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift
extras=$(IFS=,; echo "$*")

# --- system tools: command name -> Debian package -----------------------------------------------------------------
declare -A packages=([iverilog]=iverilog [verilator_bin]=verilator [yosys]=yosys [bwrap]=bubblewrap)
case ",$extras," in
    *,domains,*)
        packages+=(
            [arm-none-eabi-gcc]=gcc-arm-none-eabi [qemu-system-arm]=qemu-system-arm
            [gcc]=gcc [g++]=g++ [as]=binutils [valgrind]=valgrind
            [sbatch]=slurm-wlm [slurmctld]=slurmctld [slurmd]=slurmd [munged]=munge
        )
        ;;
esac
missing=()
PATH=$PATH:/usr/sbin  # where daemons lie, also for users who do not have it on their PATH
# A library without a command of its own.
case ",$extras," in
    *,domains,*) [ -d /usr/lib/arm-none-eabi/newlib ] || missing+=(libnewlib-arm-none-eabi) ;;
esac
for tool in "${!packages[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${packages[$tool]}")
done

find_python() {
    for name in python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}
python=$(find_python)
if [ -z "$python" ]; then
    echo "ecot needs Python 3.11, 3.12 or 3.13, and none is on PATH (Debian: apt-get install python3 python3-venv)" >&2
    exit 1
fi
"$python" -c 'import ensurepip' 2>/dev/null || missing+=("python3-venv")

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then as_root=(env); else as_root=(sudo -n env); fi
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        echo "installing system packages: ${missing[*]}"
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "please install these packages first: ${missing[*]}   (Debian, Ubuntu: sudo apt-get install ${missing[*]})" >&2
        exit 1
    fi
fi

# --- Python packages ----------------------------------------------------------------------------------------------
stamp=$venv/.ecot-setup-${extras//,/-}
wanted=$(cat pyproject.toml constraints/cpu.txt scripts/setup.sh | sha256sum | cut -c1-16)-$extras
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
echo "setting up $venv (a few minutes the first time)"
[ -x "$venv/bin/pip" ] || "$python" -m venv --clear "$venv"
export DS_BUILD_OPS=0 PIP_DISABLE_PIP_VERSION_CHECK=1
# torch first: left to a range, the resolver may take a build with several GB of CUDA libraries.
"$venv/bin/pip" install -q --progress-bar off "$(grep '^torch==' constraints/cpu.txt)"
"$venv/bin/pip" install -q --progress-bar off -c constraints/cpu.txt -e ".[$extras]"
echo "$wanted" >"$stamp"
