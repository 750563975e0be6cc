"""A stand-in for the Hugging Face Hub that takes uploads: one dataset repository, kept as files in a folder."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest


class Uploads:
    """repository: its id. folder: its files. objects: what was uploaded, by SHA-256. uploaded: SHA-256 in the order of
    the uploads. commits: the operations of each. private: of the repository; None until it is created. refuse: the
    status with which commits are refused. broken: uploads are answered with an error while this is set."""

    def __init__(self, repository: str, folder: Path):
        self.repository, self.folder = repository, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.objects: dict[str, bytes] = {}
        self.uploaded: list[str] = []
        self.commits: list[list[dict]] = []
        self.private: bool | None = None
        self.refuse: int | None = None
        self.broken = False
        self.downloads: list[str] = []
        self.url = ""

    @property
    def files(self) -> dict[str, bytes]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    def store(self, operations: list[dict]) -> None:
        self.commits.append(operations)
        for operation in operations:
            value = operation["value"]
            path = self.folder / value.get("path", "header")
            if operation["key"] in ("file", "lfsFile"):
                path.parent.mkdir(parents=True, exist_ok=True)
            if operation["key"] == "file":
                path.write_bytes(base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                path.write_bytes(self.objects[value["oid"]])
            elif operation["key"] == "deletedFile":
                path.unlink()


@contextmanager
def taking_uploads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, repository: str = "somebody/their-data"
) -> Iterator[Uploads]:
    """Serve `folder` as the repository, to this process, until the block ends."""
    hub = Uploads(repository, folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.download(False)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            api = f"/api/datasets/{repository}"
            if path == api or path.startswith(f"{api}/revision/"):
                if hub.private is None and not hub.files:
                    return self.send({}, 404, {"X-Error-Code": "RepoNotFound"})
                siblings = [{"rfilename": name} for name in hub.files]
                return self.send({"id": repository, "sha": hub.commit, "siblings": siblings, "private": hub.private})
            if path.startswith(f"{api}/tree/"):
                return self.send([self.entry(name, data) for name, data in hub.files.items()])
            return self.download(True)

        def entry(self, name: str, data: bytes) -> dict:
            digest = hashlib.sha256(data).hexdigest()
            lfs = {"oid": digest, "size": len(data), "pointerSize": 130}
            return {"type": "file", "oid": digest[:40], "size": len(data), "path": name, "lfs": lfs}

        def download(self, with_body: bool) -> None:
            match = re.fullmatch(
                rf"/datasets/{repository}/resolve/(main|{hub.commit})/(.+)", self.path.partition("?")[0]
            )
            data = hub.files.get(match[2]) if match else None
            if data is None:
                return self.send({}, 404, {"X-Error-Code": "EntryNotFound"})
            if with_body:
                hub.downloads.append(match[2])
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": hub.commit}
            return self.send(data, 200, headers, with_body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.partition("?")[0]
            if path == "/api/repos/create":
                if self.headers.get("Authorization") != "Bearer hf_of_the_tests":
                    return self.send({"error": "Invalid username or password."}, 401)
                asked = json.loads(body)
                if hub.private is not None or hub.files:
                    return self.send({"error": "already created", "url": f"{hub.url}/datasets/{repository}"}, 409)
                assert asked["type"] == "dataset"
                hub.private = asked.get("private", asked.get("visibility") == "private")
                return self.send({"url": f"{hub.url}/datasets/{repository}", "name": repository})
            if path == "/api/validate-yaml":
                return self.send({"errors": [], "warnings": []})
            if "/preupload/" in path:
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                return self.send({"files": files})
            if path.endswith("/info/lfs/objects/batch"):
                objects = []
                for wanted in json.loads(body)["objects"]:
                    upload = {"href": f"{hub.url}/upload/{wanted['oid']}"}
                    there = wanted["oid"] in hub.objects
                    objects.append({**wanted, **({} if there else {"actions": {"upload": upload}})})
                return self.send({"transfer": "basic", "objects": objects})
            if "/commit/" in path:
                if hub.refuse:
                    return self.send({"error": "not today"}, hub.refuse)
                hub.store([json.loads(line) for line in body.splitlines()])
                url = f"{hub.url}/datasets/{repository}/commit/{hub.commit}"
                return self.send({"commitOid": hub.commit, "commitUrl": url})
            return self.send({"error": f"unexpected {path}"}, 404)

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            digest = self.path.rpartition("/")[2]
            assert hashlib.sha256(data).hexdigest() == digest
            if hub.broken:
                return self.send({"error": "broken"}, 400)
            hub.objects[digest] = data
            hub.uploaded.append(digest)
            return self.send({})

        def send(
            self, content: object, status: int = 200, headers: dict[str, str] | None = None, with_body: bool = True
        ) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder.parent / "hub-cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_tests")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
