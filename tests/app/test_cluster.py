"""The files in examples/ that start a run on a cluster, with the cluster's own commands played by small scripts."""

import os
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def slurm(tmp_path, until):
    """`slurm(code)` runs slurm.sh where srun leaves with that exit code; gives its own, and what was called.

    With time_up=True the time is up while srun is at work.
    """
    called = tmp_path / "called"

    def run(code, *arguments, time_up=False):
        work = f'trap "exit {code}" TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done' if time_up else ""
        scripts = {
            "scontrol": f'echo "scontrol $*" >> {called}; [ "$1" = show ] && printf "node7\\nnode8\\n"; exit 0',
            "srun": f'echo "srun $*" >> {called}; {work}\nexit {code}',
        }
        for name, body in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)
        job = {"JOB_NODELIST": "node[7-8]", "NNODES": "2", "JOB_ID": "41", "GPUS_ON_NODE": "4"}
        environment = os.environ | {f"SLURM_{name}": value for name, value in job.items()}
        environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        with subprocess.Popen(["bash", EXAMPLES / "slurm.sh", *arguments], env=environment) as process:
            if time_up:
                until((tmp_path / "begun").exists)
                process.terminate()
            process.wait(60)
        return process.returncode, called.read_text().splitlines()

    return run


def test_slurm_starts_the_same_command(slurm):
    # kills: an option that does not reach sijo, another meeting place on each node, a run that begins anew
    code, called = slurm(0, "electra-base", "--corpus", "text/", "--out", "runs/electra")
    assert code == 0 and len(called) == 2
    assert called[1].endswith("--no-python sijo pretrain electra-base --corpus text/ --out runs/electra --resume")
    assert "--nnodes 2 --nproc-per-node 4" in called[1] and "--rdzv-endpoint node7:29500" in called[1]


def test_slurm_queues_again_what_was_asked_to_stop(slurm):
    # kills: a run that ends for good when its time is up; one that failed queued for ever
    code, called = slurm(1, "electra-base", time_up=True)
    assert code == 1 and called[-1] == "scontrol requeue 41"
    code, called = slurm(1, "electra-base")
    assert code == 1 and not called[-1].startswith("scontrol requeue")
