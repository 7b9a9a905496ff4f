"""How fast is the service, how long does a request wait, and what does it do when it is asked ten times too much?

One process serves all-MiniLM-L6-v2 on loopback; others ask. Beside it, of the same model: the engine itself,
and sentence-transformers behind FastAPI as its tutorials have it, a call of `encode` for each request.

    python benchmarks/serving.py speed [SECONDS]       requests a second, and p50/p95/p99, at 1, 8 and 64 clients
    python benchmarks/serving.py overload [SECONDS]    ten times as many as it can bear, beside the peak
    python benchmarks/serving.py memory [MINUTES]      what the process holds, beside one that answers /health alone

Prints JSON objects, a line each.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

import sijo
from sijo.inference.encode import engine_of

SENTENCE = "the late goal in rain price of petrol rises again for a third week said team in Seoul on Monday"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[(place + step) % len(WORDS)] for step in range(8 + place % 17)) for place in range(509)]
"""Of 8 to 24 words, a prime number of them."""
MODEL = "all-MiniLM-L6-v2"
COMMAND = [sys.executable, "-c", "from sijo.app.cli import main; main()"]
SERVE = [*COMMAND, "serve", MODEL, "--port", "0", "--log", "errors"]
PEER = """
import sys
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer
import uvicorn

model, app = SentenceTransformer(sys.argv[1], device="cpu"), FastAPI()

class Body(BaseModel):
    inputs: str

@app.post("/embed")
def embed(body: Body):
    return [model.encode(body.inputs, normalize_embeddings=True).tolist()]

@app.get("/health")
def health():
    return {}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


@asynccontextmanager
async def running(command: list[str], url: str | None = None) -> AsyncIterator[tuple[str, subprocess.Popen[str]]]:
    """A server, once it answers, with its address."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        if url is None:
            url = process.stderr.readline().split()[-1]
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                try:
                    if (await client.get(f"{url}/health")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class Caller:
    """A client of few instructions, so that what is measured is the server: one connection of HTTP/1.1, kept."""

    def __init__(self, url: str) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer that has come whole; OSError where none comes."""
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
            reader, writer = self.streams
            writer.write(
                f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            await reader.readexactly(int(headers["content-length"]))
            if headers.get("connection") == "close":
                self.close()
            return int(head[0].split()[1]), headers
        except (OSError, EOFError):
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next request makes one."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def asked(url: str, clients: int, seconds: float) -> dict[str, object]:
    """Clients that ask for one text after another, each as soon as it has an answer, or as an answer tells it."""
    times, statuses = list[float](), Counter[str]()
    bodies = [json.dumps({"inputs": text}).encode() for text in TEXTS]

    async def one(number: int) -> None:
        caller, place = Caller(url), number * 31
        while time.perf_counter() < end:
            asked_at = time.perf_counter()
            try:
                status, headers = await caller.post("/embed", bodies[place % len(bodies)])
                statuses[str(status)] += 1
                if status == 200:
                    times.append(time.perf_counter() - asked_at)
                else:
                    await asyncio.sleep(float(headers.get("retry-after-ms", 1000)) / 1000)
            except (OSError, EOFError) as error:
                statuses[type(error).__name__] += 1
                await asyncio.sleep(0.1)
            place += 1
        caller.close()

    begun = time.perf_counter()
    end = begun + seconds
    await asyncio.gather(*(one(number) for number in range(clients)))
    took = time.perf_counter() - begun
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    return {
        "clients": clients,
        "answers_per_second": round(len(times) / took, 1),
        **{f"p{cut}_ms": round(1000 * cuts[cut - 1], 1) for cut in (50, 95, 99)},
        "statuses": dict(statuses),
    }


def told(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


async def speed(seconds: float) -> None:
    """The service, the engine and the peer."""
    engine = engine_of(MODEL)
    for texts in (1, 64):
        engine.encode(TEXTS[:texts])
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            engine.encode([TEXTS[(done + place) % len(TEXTS)] for place in range(texts)])
            done += texts
        told(what="engine", texts_a_call=texts, texts_per_second=round(done / (time.perf_counter() - begun), 1))
    sijo.close_models()
    folder = str(engine.model.source)
    for name, command, url in (
        ("sijo", SERVE, None),
        ("sentence-transformers", [sys.executable, "-c", PEER, folder, "8931"], "http://127.0.0.1:8931"),
    ):
        async with running(command, url) as (address, _):
            await asked(address, 4, 2)
            for clients in (1, 8, 64):
                told(what=name, **await asked(address, clients, seconds))


async def overload(seconds: float) -> None:
    """What comes back of ten times as many clients as the queue has room for; they ask again when told to."""
    async with running([*SERVE, "--most-queue-tokens", "1300", "--most-seconds", "5"]) as (address, process):
        await asked(address, 4, 2)
        peak = await asked(address, 64, min(seconds, 20))
        told(what="peak", resident_mb=resident(process.pid), **peak)
        ten = await asked(address, 640, seconds)
        share = float(str(ten["answers_per_second"])) / float(str(peak["answers_per_second"]))
        told(what="ten times", share_of_peak=round(share, 3), resident_mb=resident(process.pid), **ten)


async def memory(minutes: float) -> None:
    """What two processes hold, minute by minute: one under load, one that answers /health alone."""
    async with running(SERVE) as (address, process), running(SERVE) as (idle, control):
        for number in range(round(minutes) + 1):
            figures = await asked(address, 8, 60 if number else 5)
            async with httpx.AsyncClient() as client:
                await client.get(f"{idle}/health")
            told(
                minute=number,
                resident_mb=resident(process.pid),
                control_mb=resident(control.pid),
                answers_per_second=figures["answers_per_second"],
            )


def resident(process: int) -> float:
    """Megabytes that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "overload", "memory"))
    parser.add_argument("length", type=float, nargs="?")
    given = parser.parse_args()
    usual = {"speed": 15.0, "overload": 60.0, "memory": 30.0}[given.what]
    asyncio.run({"speed": speed, "overload": overload, "memory": memory}[given.what](given.length or usual))
