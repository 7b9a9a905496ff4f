"""A stand-in of the Hub on this machine: its routes, as far as a model is pushed and fetched, and its faults."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import yaml

WRITES, READS = "hf_writeswritesAB", "hf_readsreadsreads"
"""Tokens that it knows."""
AS_GIT = 2_000
"""Bytes from which a file goes the way of large ones, as .safetensors do at any size."""


def digest(content):
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """A model: what each commit holds, and which commit each branch ends at."""

    private: bool = False
    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)

    def commit(self, branch, files, message):
        number = hashlib.sha1(f"{len(self.commits)} {branch}".encode()).hexdigest()
        self.commits[number] = files
        self.branches[branch] = number
        self.messages.append(message)
        return number

    def number(self, revision):
        return self.branches.get(revision, revision)


class Hub(ThreadingHTTPServer):
    """The server, with what it holds and what was asked of it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repos, self.large, self.asked, self.agents = {}, {}, [], set()
        self.cut, self.refuse, self.before_commit = {}, {}, None
        """Files whose answer ends after so many bytes; status and words for paths; a call before a commit."""
        self.stalls, self.stalled, self.goes_on = None, threading.Event(), threading.Event()
        """The file whose answer stops half way; that it has; that it need not wait any more."""

    def files(self, name, revision="main"):
        repo = self.repos[name]
        return repo.commits[repo.number(revision)]

    def put(self, name, files, branch="main", **about):
        return self.repos.setdefault(name, Repo(**about)).commit(branch, files, "by hand")


class Asked(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", headers.pop("length", None) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refused(self, status, words, code=None):
        self._answer(status, {"error": words}, x_error_message=words, **({"x_error_code": code} if code else {}))

    def _body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _all(self):
        hub, body = self.server, self._body()
        path = unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path}")
        hub.agents.add(self.headers.get("user-agent"))
        self.token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        for part, (status, words) in hub.refuse.items():
            if part in path:
                self._refused(status, words.format(token=self.token))
                return
        for pattern, answer in ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                answer(self, body, *found.groups())
                return
        self._refused(404, f"no route {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = _all

    def _repo(self, name, *, write=False):
        repo = self.server.repos.get(name)
        if write and self.token != WRITES:
            self._refused(403, "you may not write here")
            return None
        if repo is None or (repo.private and self.token not in (WRITES, READS)):
            self._refused(401, "Repository Not Found", "RepoNotFound")
            return None
        return repo

    def create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if self.token != WRITES:
            self._refused(401, "Invalid username or password.")
        elif name in self.server.repos:
            self._answer(409, {"error": "You already created this model repo", "url": f"{self.server.url}/{name}"})
        else:
            private = asked.get("private", False) or asked.get("visibility") == "private"
            self.server.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
            self._answer(200, {"url": f"{self.server.url}/{name}"})

    def about(self, _, name, revision="main"):
        if (repo := self._repo(name)) is None:
            return
        number = repo.number(revision)
        if number not in repo.commits:
            self._refused(404, "Invalid rev id", "RevisionNotFound")
            return
        files = [{"rfilename": path} for path in repo.commits[number]]
        told = {"id": name, "modelId": name, "sha": number, "private": repo.private, "siblings": files}
        self._answer(200, told | {"tags": [], "downloads": 0, "likes": 0})

    def tree(self, _, name, revision):
        if (repo := self._repo(name)) is not None:
            files = repo.commits[repo.number(revision)].items()
            told = [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for p, c in files
            ]
            self._answer(200, told)

    def branch(self, _, name, branch):
        if (repo := self._repo(name, write=True)) is None:
            return
        if branch in repo.branches:
            self._refused(409, "exists")
        else:
            repo.branches[branch] = repo.branches["main"]
            self._answer(200, {})

    def preupload(self, body, name, revision):
        if self._repo(name, write=True) is None:
            return
        asked = json.loads(body)
        hidden = asked.get("gitIgnore", self.server.files(name).get(".gitignore", b"").decode()).split()
        told = []
        for file in asked["files"]:
            large = file["path"].endswith(".safetensors") or file["size"] >= AS_GIT
            ignored = any(file["path"].endswith(end.removeprefix("*")) for end in hidden)
            mode = "lfs" if large else "regular"
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": ignored, "oid": None})
        self._answer(200, {"files": told})

    def batch(self, body, name):
        if self._repo(name, write=True) is None:
            return
        told = []
        for entry in json.loads(body)["objects"]:
            to = {"upload": {"href": f"{self.server.url}/large/{entry['oid']}"}}
            known = entry["oid"] in self.server.large
            told.append({"oid": entry["oid"], "size": entry["size"]} | ({} if known else {"actions": to}))
        self._answer(200, {"transfer": "basic", "objects": told})

    def upload(self, body, number):
        if digest(body) != number:
            self._refused(400, "other bytes than were told")
            return
        self.server.large[number] = body
        self._answer(200)

    def commit(self, body, name, branch):
        if (repo := self._repo(name, write=True)) is None:
            return
        if self.server.before_commit is not None:
            self.server.before_commit(repo)
        lines = [json.loads(line) for line in body.splitlines()]
        about = lines[0]["value"]
        if about.get("parentCommit") not in (None, repo.branches[branch]):
            self._refused(412, "A commit has happened since. Please refresh and try again.")
            return
        files = dict(repo.commits[repo.branches[branch]])
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[path] = self.server.large[line["value"]["oid"]]
            else:
                del files[path]
        number = repo.commit(branch, files, about["summary"])
        self._answer(
            200, {"success": True, "commitOid": number, "commitUrl": f"{self.server.url}/{name}/commit/{number}"}
        )

    def card(self, body):
        """As the Hub judges the heading of a card: it must be YAML, and some of its values are known words."""
        content = json.loads(body)["content"]
        heading = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        errors, warnings = [], []
        if heading is None:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
        else:
            try:
                errors += wrong(yaml.safe_load(heading[1]))
            except yaml.YAMLError as error:
                errors.append({"message": str(error)})
        self._answer(400 if errors else 200, {"errors": errors, "warnings": warnings})

    def resolve(self, _, name, revision, path):
        if (repo := self._repo(name)) is None:
            return
        number = repo.number(revision)
        if path not in repo.commits.get(number, {}):
            self._refused(404, "Entry not found", "EntryNotFound")
            return
        content = repo.commits[number][path]
        if not path.endswith(".safetensors"):
            etag = hashlib.sha1(content).hexdigest()
            self._send(path, content, etag=f'"{etag}"', x_repo_commit=number)
            return
        self.server.large[digest(content)] = content
        to = (
            f"{self.server.url.replace('127.0.0.1', 'localhost')}/large/{digest(content)}"  # another host, as there
        )
        about = {"x_linked_size": str(len(content)), "x_linked_etag": f'"{digest(content)}"', "location": to}
        self._answer(302, x_repo_commit=number, **about)

    def fetch(self, _, number):
        self._send(number, self.server.large[number], etag=f'"{number}"')

    def _send(self, path, content, **headers):
        """A file, or the part of one; cut short where it is to be."""
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("range", "")) or [0, 0])[1])
        if begin:
            headers["content_range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        rest = content[begin:]
        most = self.server.cut.get(path, len(rest)) if self.command == "GET" else 0
        self.send_response(206 if begin else 200)
        for name, value in ({"content_length": str(len(rest))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if path == self.server.stalls and self.command == "GET":
            self.wfile.write(rest[: len(rest) // 2])
            self.server.stalled.set()
            self.server.goes_on.wait(30)
            rest = rest[len(rest) // 2 :]
        self.wfile.write(rest[:most])
        if self.command == "GET" and most < len(rest):
            self.close_connection = True


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"POST /api/repos/create", Asked.create),
    (rf"GET /api/models/{NAME}", Asked.about),
    (rf"GET /api/models/{NAME}/revision/(.+)", Asked.about),
    (rf"GET /api/models/{NAME}/tree/([^/]+)/?", Asked.tree),
    (rf"POST /api/models/{NAME}/branch/(.+)", Asked.branch),
    (rf"POST /api/models/{NAME}/preupload/(.+)", Asked.preupload),
    (rf"POST /api/models/{NAME}/commit/(.+)", Asked.commit),
    (r"POST /api/validate-yaml", Asked.card),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", Asked.batch),
    (r"PUT /large/(\w+)", Asked.upload),
    (r"GET /large/(\w+)", Asked.fetch),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", Asked.resolve),
]


def wrong(heading):
    """What the Hub would not take of a card's heading."""
    from sijo.checkpoints.card import HUB

    licences = {*HUB["licences"]["known"], "other", "unknown"}
    checks = {
        "license": lambda value: value in licences,
        "pipeline_tag": lambda value: value in HUB["tasks"],
        "language": lambda value: all(re.fullmatch("[a-z]{2,3}|multilingual", code) for code in value),
        "base_model": lambda value: re.fullmatch(r"[\w.-]+/[\w.-]+", value),
        "tags": lambda value: all(isinstance(tag, str) for tag in value),
        "library_name": lambda value: isinstance(value, str),
        "model-index": lambda value: all(result["metrics"] for model in value for result in model["results"]),
    }
    told = [name for name, right in checks.items() if name in heading and not right(heading[name])]
    return [{"message": f'"{name}" must be one of those that are known'} for name in told]


@contextmanager
def running():
    """A Hub, for as long as the block lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.goes_on.set()
            hub.shutdown()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub, which this process takes for the only one, with a cache of its own and a token that writes."""
    from huggingface_hub import constants

    with running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a stand-in of its stores would prove nothing
        monkeypatch.setenv("HF_TOKEN", WRITES)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield hub
