"""A real Slurm on this machine: two virtual nodes, all state under one temporary folder, stopped by pid files.

munged listens on a socket of its own, so neither a Slurm nor a munge of the system is touched.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its credentials have expired, by default two minutes.
AuthInfo=socket={state}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdTimeout=15
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool.%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
FirstJobId={first_job}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1_port} CPUs={cpus} State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2_port} CPUs={cpus} State=UNKNOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class LocalSlurm:
    """Two nodes on this host."""

    def __init__(self, state):
        self.state = state
        self.environment = {**os.environ, "SLURM_CONF": str(state / "slurm.conf")}
        ctld_port, n1_port, n2_port = free_ports(3)
        (state / "state").mkdir()
        (state / "munge").mkdir(mode=0o700)
        key = state / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            state=state,
            ctld_port=ctld_port,
            n1_port=n1_port,
            n2_port=n2_port,
            cpus=os.cpu_count(),
            # The rendezvous port follows from the job's number: another one for every cluster on this machine.
            first_job=random.SystemRandom().randint(1000, 10_000_000),
        )
        (state / "slurm.conf").write_text(text)

    def start(self):
        options = [f"--{name}={self.state}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
        options += [f"--key-file={self.state}/munge/key", f"--socket={self.state}/munge.socket", "--force"]
        subprocess.run(["munged", *options], check=True)
        subprocess.run(["slurmctld"], env=self.environment, check=True)
        for node in NODES:
            self.start_node(node)
        self.wait_for(lambda: self.call("sinfo", "-h", "-o", "%T %D").strip() == "idle 2", 120, "both nodes are idle")

    def start_node(self, node):
        (self.state / f"spool.{node}").mkdir(exist_ok=True)
        subprocess.run(["slurmd", "-N", node], env=self.environment, check=True)

    def kill_daemon(self, node):
        """The node's daemon is gone at once; what it has started goes on, and Slurm will miss the node."""
        os.kill(int((self.state / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)

    def kill_node(self, node):
        """Daemon, job steps and tasks are gone at once, as in a power failure."""
        doomed = [int((self.state / f"slurmd.{node}.pid").read_text())]
        doomed += [pid for pid, variables in _environments() if variables.get("SLURMD_NODENAME") == node]
        step_daemons = {_parent(pid) for pid in doomed[1:]}
        doomed += [pid for pid in step_daemons if Path(f"/proc/{pid}/comm").read_text().strip() == "slurmstepd"]
        for pid in doomed:
            _end(pid, signal.SIGKILL)

    def stop(self):
        self.call("scancel", "--full", "--user=root")
        deadline = time.monotonic() + 60
        while self.call("squeue", "-h").strip() and time.monotonic() < deadline:
            time.sleep(0.3)
        for name in ("slurmd.n1.pid", "slurmd.n2.pid", "slurmctld.pid", "munge/pid-file"):
            if (self.state / name).is_file():
                _end(int((self.state / name).read_text()))

    def call(self, *command, **environment):
        """Run a Slurm command; what it printed."""
        result = subprocess.run(
            command, env={**self.environment, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def job(self, number):
        """What `scontrol show job` says, as a dictionary."""
        words = self.call("scontrol", "show", "job", str(number)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for(self, condition, seconds, what, every=0.2):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(every)

    def wait_for_end(self, number, seconds=900):
        """Wait until a job is neither waiting nor running; its last state."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        self.wait_for(lambda: self.job(number)["JobState"] in over, seconds, f"job {number} ends")
        return self.job(number)


def _environments():
    """Process id and environment of all processes."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield int(entry.parent.name), dict(word.split("=", 1) for word in words if "=" in word)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _end(pid, first=signal.SIGTERM):
    """Signal a process and wait for its end; one that waits for its parent to take note has ended."""
    try:
        os.kill(pid, first)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        pass


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A local cluster of two nodes."""
    if os.geteuid() != 0:
        pytest.skip("a local Slurm needs root")
    missing = [tool for tool in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
    cluster = LocalSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


SETTINGS = {
    "ECOT_VENV": str(Path(sys.executable).parents[1]),
    "ECOT_LINGER": "2",
    "ECOT_CPU_SBATCH": "--cpus-per-task=1",
    "OMP_NUM_THREADS": "1",
}


class SlurmRun:
    """`sbatch slurm/sft_32b.sh` on two virtual nodes, with a tiny configuration in place of the 32B's."""

    def __init__(self, slurm, run):
        self.slurm = slurm
        self.run = run
        self.logs = run.folder / "logs"
        self.number = ""

    def submit(self, *overrides, **environment):
        options = ["--gres=none", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1"]
        settings = {**SETTINGS, "ECOT_LOG_DIR": str(self.logs), **environment}
        arguments = [str(self.run.config), f"run_dir={self.run.paths.root}", *overrides]
        output = f"--output={self.run.folder}/%j.out"
        command = ["sbatch", "--parsable", *options, output, "slurm/sft_32b.sh", *arguments]
        self.number = self.slurm.call(*command, **settings).strip()
        return self

    def wait_for_step(self, step):
        def reached():
            assert self.slurm.job(self.number)["JobState"] not in ("COMPLETED", "FAILED"), self.everything_said()
            return any(row["step"] >= step for row in self.run.metrics())

        self.slurm.wait_for(reached, 500, f"step {step}")

    def rank_processes(self):
        """Process ids of the ranks: `python -m ecot train`, started by rank.sh."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:4] == [b"-m", b"ecot", b"train"] and str(self.run.config).encode() in words:
                found.append(int(entry.parent.name))
        return found

    def preempt(self):
        """What Slurm does some minutes before it takes the nodes (`--signal=B:USR1@300`)."""
        self.slurm.call("scancel", "--signal=USR1", "--batch", self.number)

    def finish(self):
        """Wait for the end, which must be good; what `scontrol` says of the job."""
        end = self.slurm.wait_for_end(self.number)
        assert end["JobState"] == "COMPLETED", f"{end}\n{self.everything_said()}"
        return end

    def log(self, attempt, name):
        return (self.logs / self.number / f"attempt-{attempt}" / name).read_text()

    def everything_said(self):
        """All logs, for the message of a failed assertion."""
        files = sorted(path for path in self.run.folder.rglob("*") if path.suffix in (".log", ".out"))
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in files)


@pytest.fixture
def slurm_run(slurm, new_run):
    """Makes a run to submit; jobs that a failed test leaves behind are ended."""
    made = []

    def make(name):
        made.append(SlurmRun(slurm, new_run(name)))
        return made[-1]

    yield make
    for each in made:
        if each.number:
            slurm.call("scancel", "--quiet", each.number)
