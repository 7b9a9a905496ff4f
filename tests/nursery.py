"""Forks a `sijo` process for each order on standard input, or waits for one; started by the fixture `nursery`.

Importing torch takes seconds and a fork milliseconds; so does torch._dynamo, which the first optimizer of a process
imports. Nothing is computed before the fork, so a child has no thread of a parent to miss. It goes through `main`
as any other, and leaves out only Python's own clearing up of all that torch has made, which takes a second.
"""

import gc
import json
import os
import signal
import sys
import traceback

import pyarrow.compute
import pyarrow.parquet
import rich.console
import torch
import torch._dynamo
import torch.distributed.fsdp

import sijo.app.cli
import sijo.app.evaluation.evaluate
import sijo.checkpoints.load
import sijo.files.output_job
import sijo.files.tables
import sijo.jobs.pretrain
import sijo.zeroshot.classifier

READY = (pyarrow.compute, pyarrow.parquet, rich.console, torch, sijo)


def main():
    gc.freeze()  # a child that looks through all of torch for garbage would copy it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
    orders = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    while line := orders.readline():
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), file=answers, flush=True)
            continue
        child = os.fork()
        if child == 0:
            become(order)
            live()
        print(child, file=answers, flush=True)


def become(order):
    """Take the arguments, the environment and the three files of an order."""
    for number, (file, how) in enumerate(
        zip(order["files"], (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        handle = os.open(file, how, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = ["sijo", *order["arguments"]]
    os.environ |= order["environment"]


def live():
    """The command, up to the exit code that Python itself would give."""
    try:
        sijo.app.cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    sys.stderr.flush()
    os._exit(code)


main()
