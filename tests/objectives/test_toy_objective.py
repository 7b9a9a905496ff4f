"""A new objective is one file and one row of the registry, and works from the command line to the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

from runs import REQUESTS

TOY = '''
"""Copied tokens: which token stands here, with nothing hidden?"""

from dataclasses import replace

from sijo.objectives.mlm import guessed, target_logits
from sijo.objectives.objective import Objective
from sijo.objectives.registry import OBJECTIVES, ObjectiveSpec
from sijo.objectives.tally import cross_entropy


class CopiedTokens(Objective):
    part = "copy"
    head = "mlm"

    def pose(self, batch, seed):
        return replace(batch, target_mask=batch.keep & ~batch.special)

    def answer(self, head, head_input, posed):
        return cross_entropy(target_logits(head, head_input, posed), posed.targets[posed.target_mask])

    def example(self, head, head_input, posed):
        return guessed(head, head_input, posed)


OBJECTIVES["copy"] = ObjectiveSpec(
    implementation="toy.CopiedTokens", networks={"model": "mlm"}, title="copied tokens", task="fill-mask"
)
'''
SMALL = ("run.steps=4", "run.batch=4", "run.save_every=2", "run.log_every=2", "data.length=32")
SIZES = ("hidden_size=16", "embedding_size=16", "heads=2", "intermediate_size=32")


def test_a_toy_works_from_the_command_line_to_the_report(tmp_path):
    # kills: an objective's name, head, task or title that has to be written down in a second place
    (tmp_path / "toy.py").write_text(TOY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    out = tmp_path / "run"
    changes = [*SMALL, "tokenizer.vocab_size=500", *(f"model.{size}" for size in SIZES), 'objective.parts=["copy"]']
    pretrain = ["pretrain", "bert-tiny", "--corpus", str(REQUESTS), "-o", str(out), "-q", "--set", *changes]
    code = "import json, sys, toy; from sijo.app.cli import run; sys.exit(max(map(run, json.loads(sys.argv[1]))))"
    commands = json.dumps([pretrain, ["report", str(out)]])
    ran = subprocess.run(
        [sys.executable, "-c", code, commands], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    model, report = ran.stdout.splitlines()
    assert model == str(out / "model")
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["copy"] > 0 and 0 <= last["copy_right"] <= 1
    assert json.loads((out / "examples.jsonl").read_text().splitlines()[0])["objective"] == "copy"
    assert "pipeline_tag: fill-mask" in (out / "model" / "README.md").read_text()
    page = Path(report).read_text()
    assert "loss, copied tokens" in page and "copied tokens</h3>" in page
