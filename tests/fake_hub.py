"""A small Hugging Face hub over real HTTP: one repository, a gate, and a line that can be cut."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override


COMMIT = "c" * 40
GOOD, UNAPPROVED = "hf_good", "hf_unapproved"

#: Larger files are kept as LFS does it, with their sha256.
LARGE = 10_000


@dataclass
class FakeHub:
    """What it holds, whom it lets in, and what was asked."""

    repository: str
    folder: Path
    url: str = ""
    cut_after: int | None = None
    """Bytes of a large file after which the connection breaks, and the hub with it."""
    down: bool = False
    damage: bool = False
    """Whether large files arrive with one byte changed."""
    ranges: list[str] = field(default_factory=list)
    """`Range` headers that were sent."""

    def tree(self) -> list[dict[str, Any]]:
        """List the repository as `/tree` does."""
        entries = []
        for path in sorted(self.folder.iterdir()):
            content = path.read_bytes()
            entry = {"type": "file", "path": path.name, "size": len(content), "oid": "0" * 40}
            if len(content) > LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            entries.append(entry)
        return entries


@contextmanager
def fake_hub(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve until the end of the block."""

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    state: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the hub does: what is there is public, files are gated."""
        base, path = f"/api/models/{self.state.repository}", self.path.split("?")[0]
        files = f"/{self.state.repository}/resolve/{COMMIT}/"
        if self._token() not in {None, GOOD, UNAPPROVED}:
            self._refuse(401, message="Invalid credentials in Authorization header")
        elif path == f"{base}/revision/main":
            self._json({"id": self.state.repository, "sha": COMMIT, "siblings": []})
        elif path == f"{base}/tree/{COMMIT}":
            self._json(self.state.tree())
        elif not path.startswith(files):
            self._refuse(404, code="RepoNotFound")
        elif self.state.down:
            self._refuse(503)
        elif self._token() is None:
            self._refuse(401, code="GatedRepo")
        elif self._token() == UNAPPROVED:
            self._refuse(403, code="GatedRepo")
        else:
            self._file((self.state.folder / path.removeprefix(files)).read_bytes())

    def _token(self) -> str | None:
        sent = self.headers.get("Authorization")
        return sent.removeprefix("Bearer ") if sent else None

    def _file(self, content: bytes) -> None:
        """Send a file or the rest of it; break off where that was asked for."""
        start, status = 0, 200
        if asked := self.headers.get("Range"):
            self.state.ranges.append(asked)
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
        large = len(content) > LARGE
        if large and self.state.damage:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", whole)
        self.end_headers()
        cut = self.state.cut_after if large else None
        self.wfile.write(content[start : None if cut is None else start + cut])
        if cut is not None:
            self.close_connection = self.state.down = True

    def _json(self, body: Any) -> None:
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, *, code: str = "", message: str = "") -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_: Any) -> None:
        """Say nothing."""
