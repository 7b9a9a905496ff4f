"""The log on standard error, written by a thread of its own: a pipe that nobody reads holds up no request."""

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, Full, Queue

MOST_LINES = 10_000
"""That wait to be written; those beyond are lost."""
LOG = logging.getLogger("sijo.serve")


class LogThread(logging.Handler):
    """Writes lines in turn.

    While it is held up by a full pipe it holds no lock of Python's, so that the process can end.
    """

    def __init__(self) -> None:
        super().__init__()
        sys.stderr.flush()
        self._out = os.dup(sys.stderr.fileno())
        self._lines: Queue[bytes] = Queue(MOST_LINES)
        self._written = threading.Event()
        threading.Thread(target=self._write, daemon=True, name="sijo-log").start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or none where there is no room."""
        with suppress(Full):
            self._written.clear()
            self._lines.put_nowait(f"{record.getMessage()}\n".encode())

    def end(self, seconds: float = 1.0) -> None:
        """Wait for what is to be written; where nobody reads it, let nothing else wait for that."""
        if not self._lines.empty() or not self._written.wait(0):
            until = time.monotonic() + seconds
            while not self._written.wait(0.01) and time.monotonic() < until:
                pass
        if not self._written.is_set():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    def _write(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=0.05)
            except Empty:
                self._written.set()
                continue
            with suppress(OSError):  # the reader has gone
                while line:
                    line = line[os.write(self._out, line) :]


def log_to_stderr(level: int = logging.INFO) -> LogThread:
    """Have each request leave a line of JSON on standard error."""
    thread = LogThread()
    LOG.addHandler(thread)
    LOG.setLevel(level)
    LOG.propagate = False
    return thread
