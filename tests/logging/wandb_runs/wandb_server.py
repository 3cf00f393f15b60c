"""A server for wandb's client that supports a run with artifacts, and remembers what it receives.

It supports the requests of one version of the client, and answers any other with an error that names the request.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY, PROJECT = "me", "tests"


class Server:
    """Listens on a free port until it is closed.

    Attributes:
        url: its address.
        configs: each configuration that a run was given.
        history: each step that was logged.
        files: uploaded content by name.
        versions: artifacts of type ``model`` on the server, by their id.
        refuse: the error message for creating an artifact; empty to accept it.
        runs: the runs that created artifacts.
    """

    def __init__(self) -> None:
        self.configs, self.history, self.files, self.versions, self.runs = [], [], {}, {}, set()
        self.refuse, self.unknown = "", []
        self._made, self._lock = 0, threading.Lock()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def aliases(self) -> dict[str, list[str]]:
        """Version → aliases, of the model's versions that are there."""
        return {f"v{v['index']}": sorted(v["aliases"]) for v in self.versions.values() if v["type"] == "model"}

    def answer(self, name: str, given: dict) -> dict | None:
        with self._lock:
            method = getattr(self, f"_{name}", None)
            if method is None:
                self.unknown.append(name)
                return None
            return method(given)

    # One method a request, by the name it has in the query

    def _Viewer(self, given):  # noqa: N802
        return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}}

    def _GetDefaultEntity(self, given):  # noqa: N802
        return {"viewer": {"id": "u", "entity": ENTITY}}

    def _ServerFeaturesQuery(self, given):  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, given):  # noqa: N802
        return {"entity": {"organization": None}}

    def _UpsertBucket(self, given):  # noqa: N802
        self.configs.append(json.loads(given["config"] or "{}"))
        project = {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
        bucket = {"id": "b", "name": given["name"], "displayName": "run", "description": "", "config": "{}"}
        bucket |= {"sweepName": None, "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _RunResumeStatus(self, given):  # noqa: N802
        return {"model": {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}, "bucket": None}}

    def _CreateRunFiles(self, given):  # noqa: N802
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/run/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, given):  # noqa: N802
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, given):  # noqa: N802
        made = given["input"]
        if self.refuse and made["artifactTypeName"] == "model":
            return None
        index, key = sum(v["type"] == made["artifactTypeName"] for v in self.versions.values()), f"a{self._made}"
        if made["artifactTypeName"] == "model":
            index = max((v["index"] + 1 for v in self.versions.values() if v["type"] == "model"), default=0)
        self._made += 1
        self.runs.add(made["runName"])
        self.versions[key] = {
            "type": made["artifactTypeName"],
            "name": made["artifactCollectionName"],
            "index": index,
            "metadata": made["metadata"],
            "aliases": [],
            "wanted": [alias["alias"] for alias in made["aliases"]],
            "digest": made["digest"],
            "state": "PENDING",
            "ttl": None,
        }
        sequence = {"latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": key, "state": "PENDING", "artifactSequence": sequence}}}

    def _CreateArtifactManifest(self, given):  # noqa: N802
        file = {"id": "f", "uploadUrl": f"{self.url}/storage/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": f"m-{given['artifactID']}", "file": file}}}

    def _CreateArtifactFiles(self, given):  # noqa: N802
        edges = []
        for file in given["input"]["artifactFiles"]:
            place = f"{file['artifactID']}/{file['name']}"
            node = {"storagePath": place, "uploadUrl": f"{self.url}/storage/{place}", "uploadHeaders": []}
            edges.append({"node": {**node, "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, given):  # noqa: N802
        version = self.versions[given["artifactID"]]
        for other in self.versions.values():
            if other["name"] == version["name"]:
                other["aliases"] = [alias for alias in other["aliases"] if alias not in version["wanted"]]
        version["aliases"], version["state"] = version["wanted"], "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": version["digest"]}}}

    def _ArtifactByID(self, given):  # noqa: N802
        return {"artifact": self._node(given["id"])}

    def _ProjectArtifacts(self, given):  # noqa: N802
        keys = [k for k, v in self.versions.items() if v["name"] == given["collection"] and v["state"] == "COMMITTED"]
        edges = [{"version": f"v{self.versions[key]['index']}", "node": self._node(key)} for key in keys]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        found = {"totalCount": len(edges), "pageInfo": page, "edges": edges}
        collection = {"__typename": "ArtifactSequence", "artifacts": found}
        return {"project": {"artifactType": {"artifactCollection": collection}}}

    def _DeleteArtifact(self, given):  # noqa: N802
        key = given["input"]["artifactID"]
        assert given["input"]["deleteAliases"]
        del self.versions[key]
        return {"result": {"artifact": {"id": key}}}

    def _UpdateArtifact(self, given):  # noqa: N802
        key = given["input"]["artifactID"]
        self.versions[key]["ttl"] = given["input"]["ttlDurationSeconds"]
        return {"result": {"artifact": self._node(key)}}

    def _node(self, key: str) -> dict:
        version = self.versions[key]
        project = {"id": "p", "internalId": "1", "name": PROJECT, "entity": {"name": ENTITY}}
        collection = {"__typename": "ArtifactSequence", "name": version["name"], "project": project}
        aliases = [
            {"__typename": "ArtifactAlias", "id": alias, "alias": alias, "artifactCollection": collection}
            for alias in version["aliases"]
        ]
        return {
            "__typename": "Artifact", "id": key, "artifactSequence": collection, "versionIndex": version["index"],
            "artifactType": {"name": version["type"]}, "description": None, "metadata": version["metadata"],
            "ttlDurationSeconds": version["ttl"] or -1, "ttlIsInherited": version["ttl"] is None, "tags": [],
            "historyStep": None, "state": version["state"], "size": 1, "digest": version["digest"],
            "digestAlgorithm": "MANIFEST_MD5", "commitHash": "", "fileCount": 1, "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": None, "aliases": aliases,
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server_state: Server

    def log_message(self, *_) -> None:
        """Nothing is printed."""

    def do_PUT(self) -> None:
        self.server_state.files[self.path.removeprefix("/storage/")] = self._content()
        self._send({})

    def do_GET(self) -> None:
        self._send({})

    def do_POST(self) -> None:
        content = self._content()
        if self.path.endswith("/file_stream"):
            lines = json.loads(content).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.server_state.history += map(json.loads, lines)
        if self.path != "/graphql":
            return self._send({})
        asked = json.loads(content)
        name = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])[1]
        answer = self.server_state.answer(name, asked.get("variables") or {})
        if answer is None:
            known = name == "CreateArtifact"
            message = self.server_state.refuse if known else f"{name} is not known here"
            return self._send({"errors": [{"message": message}], "data": None})
        return self._send({"data": answer})

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
