"""A server that speaks as much of the Hub as downloading needs, and a second one, its store of large files.

GET  /api/models/REPO/revision/REV                the commit
GET  /api/models/REPO/tree/COMMIT?recursive=true  files, in pages
HEAD, GET /REPO/resolve/COMMIT/PATH               small files; large ones are at the store, by ranges
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".gguf", ".safetensors")
TOKEN = "hf_of_the_user"


@dataclass
class Request:
    """What was asked of which server."""

    host: str
    method: str
    path: str
    headers: dict


@dataclass
class LocalHub:
    """Repositories by name, each with its files' contents, and how the servers misbehave.

    revisions: names of branches and tags of repositories. requests: all that came. page: files of a page.
    gated, private: repositories. cut: bytes after which the store cuts a connection, once for each number.
    wrong: paths of files of which the store sends other bytes. busy: requests to the store that are answered
    503. no_ranges: the store sends whole files. next_page_elsewhere: pages lead to the store. is_portal:
    every page is one to log in. renamed: new names by old ones. n_signed: addresses that were given out.
    n_refused: the first so many are too old. seconds: that the store waits before it answers.
    """

    repos: dict = field(default_factory=dict)
    revisions: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    page: int = 1000
    gated: set = field(default_factory=set)
    private: set = field(default_factory=set)
    cut: list = field(default_factory=list)
    wrong: set = field(default_factory=set)
    busy: int = 0
    no_ranges: bool = False
    next_page_elsewhere: bool = False
    is_portal: bool = False
    renamed: dict = field(default_factory=dict)
    n_signed: int = 0
    n_refused: int = 0
    seconds: float = 0.0

    def __enter__(self):
        self._servers = [_Server(self, kind) for kind in ("hub", "store")]
        self.url, self.store_url = (server.url for server in self._servers)
        return self

    def __exit__(self, *error):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def commit(self, repo):
        """Of what a repository holds now."""
        listed = [(path, hashlib.sha256(content).hexdigest()) for path, content in self.repos[repo].items()]
        return hashlib.sha1(json.dumps([repo, sorted(listed)]).encode()).hexdigest()

    def asked(self, host, method="GET"):
        """Paths of requests."""
        return [each.path for each in self.requests if (each.host, each.method) == (host, method)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub, kind):
        super().__init__(("127.0.0.1", 0), _HANDLERS[kind])
        self.hub, self.kind = hub, kind
        host = {"hub": "127.0.0.1", "store": "localhost"}[kind]
        self.url = f"http://{host}:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *about):
        """Connections that clients cut are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *message):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.hub = self.server.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.server.kind, self.command, self.path, headers))
        self.answer()

    def send(self, status, content=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Hub(_Handler):
    def answer(self):
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        is_user = self.headers.get("authorization") == f"Bearer {TOKEN}"
        old = next((name for name in self.hub.renamed if f"/{name}/" in path), None)
        if old:
            self.send(307, Location=self.path.replace(old, self.hub.renamed[old]))
        elif self.hub.is_portal:
            self.send(200, b"<html>Log in first</html>")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/(.+)", path):
            repo, kind, revision = found.groups()
            if self._may_see(repo, is_user):
                self._tell_of(repo, kind, revision, query)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo, revision, name = found.groups()
            if self._may_see(repo, is_user):
                self._resolve(repo, name, is_user)
        else:
            self.send(404)

    def _may_see(self, repo, is_user):
        if repo not in self.hub.repos or (repo in self.hub.private and not is_user):
            self.send(404 if is_user else 401, X_Error_Code="RepoNotFound")
            return False
        return True

    def _tell_of(self, repo, kind, revision, query):
        commit = self.hub.commit(repo)
        if revision not in (commit, "main", *self.hub.revisions.get(repo, ())):
            return self.send(404, X_Error_Code="RevisionNotFound")
        if kind == "revision":
            return self.send(200, json.dumps({"id": repo, "sha": commit}).encode())
        first = int(query.get("cursor", ["0"])[0])
        entries = [self._entry(path, content) for path, content in sorted(self.hub.repos[repo].items())]
        page = entries[first : first + self.hub.page]
        more = {}
        if first + self.hub.page < len(entries):
            server = self.hub.store_url if self.hub.next_page_elsewhere else self.hub.url
            path = urlsplit(self.path).path
            more["Link"] = f'<{server}{path}?recursive=true&cursor={first + self.hub.page}>; rel="next"'
        self.send(200, json.dumps(page).encode(), **more)

    @staticmethod
    def _entry(path, content):
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry = {"type": "file", "path": path, "size": len(content), "oid": oid}
        if path.endswith(LARGE):
            sha256 = hashlib.sha256(content).hexdigest()
            entry |= {"lfs": {"oid": sha256, "size": len(content), "pointerSize": 134}}
        return entry

    def _resolve(self, repo, name, is_user):
        if name not in self.hub.repos[repo]:
            return self.send(404, X_Error_Code="EntryNotFound")
        if repo in self.hub.gated and not is_user:
            return self.send(403, X_Error_Code="GatedRepo")
        content = self.hub.repos[repo][name]
        about = {"X_Repo_Commit": self.hub.commit(repo)}
        if name.endswith(LARGE):
            self.hub.n_signed += 1
            place = f"{self.hub.store_url}/{repo}/{name}?signature={self.hub.n_signed}"
            return self.send(302, Location=place, X_Linked_Size=str(len(content)), **about)
        send_range(self, content, about)


class _Store(_Handler):
    def answer(self):
        hub = self.hub
        time.sleep(hub.seconds)
        parts = urlsplit(self.path)
        _, owner, repo, name = unquote(parts.path).split("/", 3)
        signature = int(parse_qs(parts.query).get("signature", ["0"])[0])
        if hub.busy:
            hub.busy -= 1
            return self.send(503)
        if signature <= hub.n_refused:
            return self.send(403)
        content = hub.repos[f"{owner}/{repo}"][name]
        if name in hub.wrong:
            content = bytes(len(content) - 1) + b"\1"
        send_range(self, content, {}, hub.cut.pop(0) if hub.cut else None)


def send_range(handler, content, about, cut=None):
    """Send what the Range header asks for; of it `cut` bytes only, before the connection ends."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("range", ""))
    if not found or handler.hub.no_ranges:
        return handler.send(200, content, **about)
    first, last = map(int, found.groups())
    part = content[first : last + 1]
    about = about | {"Content_Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
    if cut is None:
        return handler.send(206, part, **about)
    handler.send_response(206)
    handler.send_header("Content-Length", str(len(part)))
    handler.send_header("Content-Range", about["Content_Range"])
    handler.end_headers()
    handler.wfile.write(part[:cut])
    handler.close_connection = True
    handler.connection.close()


_HANDLERS = {"hub": _Hub, "store": _Store}
