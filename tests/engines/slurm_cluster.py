"""A Slurm cluster of two nodes on this machine, for as long as a test takes: its daemons, in a folder of their own.

Needs root, and Debian's `slurmctld`, `slurmd`, `slurm-client` and `munge`. Nothing listens beyond the loopback, and no
service of the system is touched.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
PATIENCE = 300
"""Seconds after which a cluster that should have done something is taken to hang."""


def lacking() -> str | None:
    """Why there can be no cluster here; None where there can."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    if missing:
        return f"{', '.join(missing)}: not installed"
    return None if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def slurm_cluster() -> Iterator[Mapping[str, str]]:
    """Inside, nodes n1 and n2 with a processor each; the variables that Slurm's own programs need to find them."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as daemons:
        folder = Path(name)
        (folder / "key").write_bytes(secrets.token_bytes(1024))
        (folder / "key").chmod(0o400)
        (folder / "slurm.conf").write_text(_configuration(folder), encoding="utf-8")
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        variables = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
        own = (f"--{what}={folder / what}" for what in ("socket", "pid-file", "log-file", "seed-file"))
        lines = (
            ["munged", "--foreground", "--force", f"--key-file={folder / 'key'}", *own],
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", "n1"],
            ["slurmd", "-D", "-N", "n2"],
        )
        for line in lines:
            (folder / "spool").mkdir(exist_ok=True)
            log = daemons.enter_context((folder / f"{line[0]}-{line[-1]}.out".replace("/", "_")[-60:]).open("wb"))
            process = subprocess.Popen(line, env=variables, stdout=log, stderr=log, start_new_session=True)
            daemons.callback(_end, process)
            if line[0] == "munged":
                _wait(lambda: (folder / "socket").exists(), folder)
        _wait(lambda: said(variables, "sinfo", "-h", "-o", "%T %D").strip() == "idle 2", folder)
        try:
            yield variables
        finally:
            said(variables, "scancel", "--state=PENDING", "-u", "root")
            said(variables, "scancel", "-u", "root")


def said(variables: Mapping[str, str], *line: str) -> str:
    """What one of Slurm's programs prints; empty where it fails."""
    return subprocess.run(line, env=variables, capture_output=True, text=True, check=False).stdout


def _configuration(folder: Path) -> str:
    (folder / "state").mkdir()
    host = socket.gethostname().partition(".")[0]
    ports = [_free() for _ in range(3)]
    nodes = "\n".join(
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[number]} CPUs=1 State=UNKNOWN"
        for number in (1, 2)
    )
    return f"""ClusterName=scratch
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder / "socket"}
CredType=cred/munge
StateSaveLocation={folder / "state"}
SlurmdSpoolDir={folder / "spool"}/%n
SlurmctldPidFile={folder / "slurmctld.pid"}
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder / "slurmctld.log"}
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SchedulerType=sched/builtin
MpiDefault=none
ReturnToService=2
{nodes}
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def _free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(done: "object", folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():  # type: ignore[operator]
        if time.monotonic() > deadline:
            logs = {path.name: path.read_text(errors="replace")[-800:] for path in folder.glob("*.[lo][ou][gt]")}
            raise AssertionError(f"the cluster does not come up: {logs}")
        time.sleep(0.2)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
