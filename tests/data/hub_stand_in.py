"""A stand-in for the Hugging Face Hub: serves the files of a folder as a dataset repository, and counts requests."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPOSITORY = "SNUMPR/DRAKE"
COMMIT = "7" * 40


class StandIn:
    """url: for HF_ENDPOINT. downloads: names of the files that were asked for, in order. revisions: those asked for.
    wrong: names of files that are served with one byte changed."""

    def __init__(self, folder: Path):
        self.folder, self.downloads, self.revisions = folder, list[str](), list[str]()
        self.wrong: set[str] = set()
        self.url = ""

    def info(self) -> dict:
        siblings = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            size = path.stat().st_size
            name = path.relative_to(self.folder).as_posix()
            lfs = {"size": size, "sha256": digest, "pointerSize": 130}
            siblings.append({"rfilename": name, "size": size, "blobId": digest[:40], "lfs": lfs})
        return {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}


@contextmanager
def standing_in(folder: Path) -> Iterator[StandIn]:
    """Serve the files of `folder` as the repository, until the block ends."""
    hub = StandIn(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            api, resolve = f"/api/datasets/{REPOSITORY}", f"/datasets/{REPOSITORY}/resolve/{COMMIT}/"
            if path == api or path.startswith(f"{api}/revision/"):
                hub.revisions.append(path.removeprefix(api).removeprefix("/revision/"))
                return self.send(json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
            file = hub.folder / path.removeprefix(resolve)
            if not path.startswith(resolve) or not file.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            content = file.read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            if file.name in hub.wrong:
                content = bytes([content[0] ^ 1]) + content[1:]
            if with_body:
                hub.downloads.append(file.name)
            self.send(content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body)

        def send(self, content: bytes, headers: dict[str, str], with_body: bool = True) -> None:
            self.send_response(200)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
