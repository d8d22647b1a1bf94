"""Servers on this machine that stand for others."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote


class Handler(BaseHTTPRequestHandler):
    """Serves `content`, by name; `faults` are what it does wrong the next times."""

    protocol_version = "HTTP/1.1"
    facts = {}  # further headers

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        server, name = self.server, self.path.strip("/")
        below = [k[len(name) + 1 :] for k in server.content if k.startswith(f"{name}/")]
        inside = sorted({k.split("/")[0] + "/" * ("/" in k) for k in below})
        fault = server.faults.pop(0) if body and server.faults and not inside else None
        if body:
            server.asked.append(name)
        if name not in server.content and not inside:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.send_header("X-Error-Code", "EntryNotFound" if name.partition("/")[0] != "api" else "RepoNotFound")
            self.end_headers()
            return
        links = "".join(f'<a href="{k}">x</a>' for k in inside)
        data = server.content.get(name, links.encode())
        part = self.headers.get("Range")
        start, end = 0, len(data)
        if part:
            start, last = part.removeprefix("bytes=").split("-")
            start, end = int(start), min(len(data), int(last or len(data)) + 1)
        self.send_response(206 if part else (503 if fault == "busy" else 200))
        self.send_header("Content-Length", str(end - start))
        for key, value in {"ETag": f'"{hash(data)}"', **self.facts}.items():
            self.send_header(key, value)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Type", "application/octet-stream" if name in server.content else "text/html")
        self.end_headers()
        if body:
            self.wfile.write(data[start:end] if fault is None else data[start : (start + end) // 2])
        if fault:
            self.close_connection = True


class Hub(Handler):
    """Answers as the Hub does, for one data set `me/set`."""

    facts = {"X-Repo-Commit": "0" * 40}

    def do_HEAD(self):
        self.path = self._below("/datasets/me/set/resolve")
        super().do_HEAD()

    def do_GET(self):
        place = unquote(self.path.partition("?")[0])
        if place.startswith("/api/datasets/me/set/tree/"):
            self._json(self._tree(self._below("/api/datasets/me/set/tree"), "recursive=true" in self.path.lower()))
        elif place.startswith("/api/datasets/me/set"):
            self._json({"id": "me/set", "sha": "0" * 40, "siblings": [], "private": False})
        else:
            self.path = self._below("/datasets/me/set/resolve")
            super().do_GET()

    def _tree(self, folder, recursive):
        start = f"{folder.strip('/')}/".lstrip("/")
        files = [name for name in self.server.content if name.startswith(start)]
        folders = {start + name[len(start) :].partition("/")[0] for name in files if "/" in name[len(start) :]}
        direct = [name for name in files if recursive or "/" not in name[len(start) :]]
        return [self._facts(name) for name in direct] + [
            {"type": "directory", "path": name, "oid": "0"} for name in folders
        ]

    def _below(self, start):
        """Return what follows a revision in the path; the path as it is if it does not start so."""
        place = unquote(self.path.partition("?")[0])
        return "/" + place.removeprefix(start).strip("/").partition("/")[2] if place.startswith(start) else place

    def do_POST(self):
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
        self._json([self._facts(name) for name in asked if name in self.server.content])

    def _facts(self, name):
        data = self.server.content[name]
        return {"type": "file", "path": name, "size": len(data), "oid": f"{hash(data):x}"}

    def _json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(content):
    """Serve content by name; `asked` are the names that were asked for, `address` is the server's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.content, running.faults, running.asked = content, [], []
        running.address = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()
