"""A stand-in for the Hugging Face hub on this machine: the requests that creating, uploading and downloading need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_RESOLVED = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")
COMMIT = "0123456789" * 4


class Repositories(ThreadingHTTPServer):
    """The server.

    Attributes:
        files: repository → name of a file → content.
        commits: number of commits.
        ranges: the parts of files that were asked for, first byte and the one after the last.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits = 0
        self.ranges: list[tuple[int, int]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running_server() -> Iterator[Repositories]:
    server = Repositories()
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Requests(BaseHTTPRequestHandler):
    server: Repositories

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._resolve(with_body=False)

    def do_GET(self) -> None:
        self._resolve(with_body=True)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.partition("?")[0].strip("/").split("/")
        repository = "/".join(parts[2:4])
        if parts == ["api", "repos", "create"]:
            made = json.loads(body)
            name = "/".join(filter(None, (made.get("organization"), made["name"])))
            self.server.files.setdefault(name, {})
            self._answer({"url": f"{self.server.address}/{name}"})
        elif parts == ["api", "validate-yaml"]:
            assert json.loads(body)["content"].startswith("---\n")
            self._answer({"errors": [], "warnings": []})
        elif parts[4:5] == ["preupload"]:
            names = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._answer({"files": files})
        elif parts[4:5] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[repository][line["value"]["path"]] = content
            self.server.commits += 1
            self._answer({"commitUrl": f"{self.server.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._answer({"error": f"the stand-in does not know {self.path}"}, 404)

    def _resolve(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/models/")
        repository = path.removesuffix("/tree/main")
        if repository in self.server.files:
            files = self.server.files[repository]
            tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": COMMIT} for name in files]
            described = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": []}
            self._answer(described if path == repository else tree, with_body=with_body)
            return
        found = _RESOLVED.fullmatch(self.path.partition("?")[0])
        content = self.server.files.get(found[1], {}).get(found[2]) if found else None
        if content is None:
            self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"}, with_body)
            return
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        begin, end = self._range(len(content))
        self._send(content[begin:end], 206 if "Range" in self.headers else 200, headers, with_body)

    def _range(self, nbytes: int) -> tuple[int, int]:
        """The bytes that are asked for: from, to."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found is None:
            return 0, nbytes
        self.server.ranges.append((int(found[1]), int(found[2]) + 1))
        return self.server.ranges[-1]

    def _answer(
        self, value: Any, status: int = 200, headers: dict[str, str] | None = None, with_body: bool = True
    ) -> None:
        self._send(
            json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})}, with_body
        )

    def _send(self, content: bytes, status: int, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)
