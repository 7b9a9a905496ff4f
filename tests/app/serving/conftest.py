"""A service in this process, asked without a socket; and one in a process of its own, with one."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from sijo.app.serving.gate import Callers
from sijo.app.serving.service import application, make_service

LOCAL = "http://localhost:8000"


@pytest.fixture(scope="session")
def serving():
    """`with serving(models, callers=…, …) as client`: a client of a service in this process."""

    @contextmanager
    def serve(*models, callers=None, **settings):
        service = make_service([str(model) for model in models], **settings)
        gate = application(service, callers or Callers.of())
        with TestClient(gate, LOCAL, raise_server_exceptions=False) as client:
            client.service = service
            yield client

    return serve


class Server:
    """`sijo serve` in a process of its own."""

    def __init__(self, *arguments):
        command = [
            sys.executable,
            "-c",
            "from sijo.app.cli import main; main()",
            "serve",
            "--port",
            "0",
            *arguments,
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = []
        first = self.process.stderr.readline()
        assert first.startswith("serving "), first + self.process.stderr.read()
        self.url = first.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    @property
    def records(self):
        """The lines of its log."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def end(self, number=signal.SIGTERM):
        """Its exit code, once it was told to end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


@pytest.fixture
def server(request):
    """`server(arguments…)`: a running `sijo serve`."""
    begun = []

    def begin(*arguments):
        begun.append(Server(*map(str, arguments)))
        return begun[-1]

    yield begin
    for one in begun:
        one.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def long_server():
    """One that a whole file of tests asks."""
    one = Server("--log", "requests")
    yield one
    one.end(signal.SIGKILL)
