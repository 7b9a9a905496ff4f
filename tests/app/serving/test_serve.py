"""`sijo serve` as a process: how it begins, what holds it up, and how it ends. Each test names its fault."""

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import httpx
import pytest

from sijo.app.serving.serve import read_keys
from sijo.errors import SettingError, SijoWarning

KEY = "a-key-of-more-than-sixteen-letters"


def raw(port, content, *, wait=5.0, close=False):
    """What comes back for these bytes, up to the connection's end."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        try:
            connection.sendall(content)
            if close:
                return b""
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
        except (ConnectionError, TimeoutError):
            return b"".join(parts) if "parts" in locals() else b""
        return b"".join(parts)


def head(length, **headers):
    lines = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": length} | headers
    return b"POST /embed HTTP/1.1\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "no key is asked for"),
        (["--host", "example.org"], "no key is asked for"),
        (["--port", "70000"], "is no port"),
        (["--api-key-file", "nothing.txt"], "is not there"),
        (["--label-set", "labels.csv"], "NAME=FILE"),
        (["--most-texts", "0"], "is no limit"),
        (["--most-seconds", "-1"], "is no limit"),
        (["--batch-tokens", "0"], "1 to 10,000,000 tokens"),
        (["--precision", "auto"], "a service has none yet"),
        (["a=sijo-small", "a=sijo-small"], "two models have one name"),
        (["no/such folder"], "there is no folder"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_listens(sijo_cli, arguments, words):
    # kills: a service that is open to a network by mistake; a fault an hour later
    ran = sijo_cli("serve", *([] if "--port" in arguments else ["--port", "0"]), *arguments)
    assert ran.code == 2 and words in ran.err, ran


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no key"),
        ("tiny\n", "key 1 must have 16"),
        (f"{KEY}\na key with blanks\n", "key 2 must have 16"),
        ("ключ-ключ-ключ-ключ\n", "key 1 must have 16"),
        (b"\xff\xfe", "no text in UTF-8"),
    ],
    ids=["none", "short", "blanks", "letters", "bytes"],
)
def test_keys_that_are_none(sijo_cli, write, content, words):
    # kills: an empty file that lets everybody in; a key that is guessed, or told on the screen
    ran = sijo_cli("serve", "--port", "0", "--api-key-file", write("keys.txt", content))
    assert ran.code == 2 and words in ran.err, ran
    assert not any(key in ran.err for key in (KEY, "tiny", "ключ")), ran


def test_a_file_of_keys_that_everybody_reads(write):
    # kills: a key that any account of the machine knows, without a word; a byte order mark in the first key
    path = write("keys.txt", f"\ufeff{KEY}\r\n")
    path.chmod(0o640)
    assert read_keys(path) == [KEY]
    path.chmod(0o644)
    with pytest.warns(SijoWarning, match="chmod 600"):
        read_keys(path)
    with pytest.raises(SettingError, match=r"--api-key-file .*Is a directory"):
        read_keys(path.parent)


def test_a_port_that_is_taken(sijo_cli):
    # kills: a stack trace of the server's
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = sijo_cli("serve", "--port", str(taken.getsockname()[1]))
    assert ran.code == 2 and "choose another" in ran.err, ran


def test_keys_texts_and_paths_are_not_in_the_log(server, write):
    # kills: a secret on standard error, where every system collects it
    keys = write("keys.txt", f"{KEY}\nanother-key-of-sixteen\n")
    keys.chmod(stat.S_IRUSR)
    one = server("--api-key-file", keys)
    assert httpx.get(f"{one.url}/info").status_code == 401
    shown = {"authorization": f"Bearer {KEY}"}
    body = {"texts": ["my secret diary"], "labels": ["hidden", "open"]}
    assert httpx.post(f"{one.url}/classify?token=hush", json=body, headers=shown).status_code == 200
    assert httpx.post(f"{one.url}/classify", json=body | {"labels": ["hidden"]}, headers=shown).status_code == 422
    assert httpx.get(f"{one.url}/whisper", headers=shown).status_code == 404
    gold = {
        "texts": ["my secret diary", "b", "c"],
        "gold": ["hidden", "open", "hush"],
        "labels": ["hidden", "open"],
    }
    assert httpx.post(f"{one.url}/fit", json=gold, headers=shown, timeout=30).status_code == 200
    assert one.end() == 143
    told = "".join(one.lines)
    for word in (KEY, "secret", "hidden", "hush", "whisper", "diary"):
        assert word not in told
    assert [record["status"] for record in one.records] == [401, 200, 422, 404, 200]
    assert one.records[1]["texts"] == 1 and one.records[1]["model"] == "sijo-small"


def test_a_log_that_nobody_reads_holds_nobody_up():
    # kills: a service that stops for ever once the pipe of its log is full
    command = [sys.executable, "-c", "from sijo.app.cli import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        url = process.stderr.readline().split()[-1]
        with httpx.Client() as client:
            for _ in range(700):  # of some 160 bytes each, where a pipe holds 65,536
                assert client.get(f"{url}/health", timeout=5).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143


def test_sigterm_lets_what_was_asked_end(server):
    # kills: answers lost when a service is replaced; one that takes new requests while it ends, or never ends
    one = server("--batch-wait", "800")
    got = {}

    def ask():
        got["answer"] = httpx.post(f"{one.url}/embed", json={"inputs": "the last text"}, timeout=20)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.4)  # it waits in the queue
    with httpx.Client() as held:  # a connection from before
        assert held.get(f"{one.url}/ready").status_code == 200
        one.process.send_signal(signal.SIGTERM)
        asking.join()
    assert got["answer"].status_code == 200 and len(got["answer"].json()[0]) == 384
    assert one.end() == 143
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{one.url}/health")


def test_slow_and_broken_clients_hold_nobody_up(long_server):
    # kills: a service that one half of a request stops; a gigabyte in memory; a million headers
    port, url = long_server.port, long_server.url
    half = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    for place, connection in enumerate(half):
        connection.sendall([b"POST /emb", head(100) + b"\r\n{", head(100)][place % 3])
    raw(port, head(10**9) + b"\r\n{", close=True)
    assert raw(port, head(10**9) + b"\r\n" + b"x" * 1000).startswith(b"HTTP/1.1 413")
    many = b"".join(b"X-%d: y\r\n" % number for number in range(10**6))
    assert raw(port, head(2) + many + b"\r\n{}")[:12] in (b"HTTP/1.1 400", b"")
    chunks = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    chunked = head(0).replace(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n") + b"\r\n" + chunks * 8
    assert raw(port, chunked)[:12] in (b"HTTP/1.1 413", b"")
    assert raw(port, b"\x16\x03\x01\x00garbage\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: b\r\nConnection: close\r\n\r\n")[:12] in (
        b"HTTP/1.1 400",
        b"HTTP/1.1 421",
    )
    begun = time.perf_counter()
    answer = httpx.post(f"{url}/embed", json={"inputs": "meanwhile"}, timeout=10)
    assert answer.status_code == 200 and time.perf_counter() - begun < 5
    for connection in half:
        connection.close()
    assert long_server.process.poll() is None


def test_what_does_not_come_is_not_waited_for(server):
    # kills: connections without an end, of which two thousand are all there are
    one = server("--most-body-seconds", "0.5")
    for begun, end in (
        (b"GET /health HTTP/1.1\r\nHost: local", b""),
        (head(9) + b"\r\n{", b"HTTP/1.1 408"),
        (b"", b""),
    ):
        with socket.create_connection(("127.0.0.1", one.port), timeout=15) as connection:
            connection.sendall(begun)
            start = time.perf_counter()
            assert connection.recv(100)[:12] == end
            assert time.perf_counter() - start < 5


def test_the_description_is_whole(long_server):
    # kills: a route that is not described, or an answer that is not
    described = httpx.get(f"{long_server.url}/openapi.json").json()
    assert {"/classify", "/embed", "/predict", "/rerank", "/similarity", "/info", "/generate", "/attribute"} < set(
        described["paths"]
    )
    for path, methods in described["paths"].items():
        for method in methods.values():
            assert {"422", "429", "503"} <= set(method["responses"]), path
    assert json.dumps(described).isascii()
