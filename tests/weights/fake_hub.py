"""A Hugging Face Hub of our own on this machine: repositories of files, private and gated ones, and its bad days."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_a_token_for_tests"
PIECE_BYTES = 1 << 14


@dataclass
class Repository:
    """What one repository holds, and how it behaves.

    Attributes:
        breaks: after how many bytes of a file each of the next connections breaks.
        pause_seconds: between pieces of 16 KB.
        lies: serve other bytes of the same length than the listing says.
    """

    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    breaks: list[int] = field(default_factory=list)
    pause_seconds: float = 0.0
    lies: bool = False
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)


class FakeHub(ThreadingHTTPServer):
    """`repositories` by owner/name; `url` is what HF_ENDPOINT should be."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield hub
    hub.shutdown()
    hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._listing(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._refuse(404, "EntryNotFound")

    def _repository(self, name: str, revision: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        authorised = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not authorised):
            self._refuse(401, "RepoNotFound")
        elif repository.gated and not authorised:
            self._refuse(403, "GatedRepo")
        elif repository.status != 200:
            self._refuse(repository.status, "")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        else:
            repository.asked.append((self.path, self.headers.get("Range", "")))
            return repository
        return None

    def _listing(self, name: str, revision: str) -> None:
        if repository := self._repository(name, revision):
            siblings = [_sibling(path, content) for path, content in repository.files.items()]
            self._answer(
                json.dumps(
                    {
                        "id": name, "modelId": name, "author": name.split("/")[0], "sha": COMMIT, "tags": [],
                        "private": repository.private, "gated": "auto" if repository.gated else False,
                        "cardData": repository.card, "siblings": siblings, "downloads": 0, "likes": 0,
                    }
                ).encode(), "application/json",
            )  # fmt: skip

    def _file(self, name: str, revision: str, path: str) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        content = repository.files[path]
        if repository.lies:
            content = bytes(len(content))
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        end = first + repository.breaks.pop(0) if repository.breaks else len(content)
        for place in range(first, min(end, len(content)), PIECE_BYTES):
            self.wfile.write(content[place : min(place + PIECE_BYTES, end)])
            time.sleep(repository.pause_seconds)
        if end < len(content):
            self.close_connection = True

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if status == 429:
            self.send_header("Retry-After", "40")
        self.send_header("Content-Length", "0")
        self.end_headers()


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
    told: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git}
    if len(content) > 4096:
        told["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return told
