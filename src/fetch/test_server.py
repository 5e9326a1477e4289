"""A small model hub for download_test and hub_test: speaks just enough of the hub's HTTP interface, and fails on demand.

Prints its port, then serves until its standard input closes. Every repository holds the same bytes; how they are
served depends on the repository's name (see Hub.behave_as). GET /log lists the requests so far, one a line:
METHOD PATH RANGE AUTHORIZATION, "-" for what was not sent.
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

CONTENT = bytes((i * 7 + i // 251) % 256 for i in range(300_000))
NEW_CONTENT = CONTENT[::-1]
LISTING = {
    "one": ["README.md", "model.gguf"],
    "many": ["a-Q4_0.gguf", "a-q4_k_m.gguf", "a-Q8_0.gguf"],
    "unclear": ["a-Q4_0.gguf", "a-Q8_0.gguf"],
    "split": ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"],
    "empty": ["README.md"],
    "hostile": ["../../x.gguf", "/abs.gguf", "ok.gguf"],
}


class Hub(BaseHTTPRequestHandler):
    lock = threading.Lock()
    log = []
    counts = {}

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        if path == "/log":
            return self.send(200, "\n".join(Hub.log).encode())
        with Hub.lock:
            Hub.log.append(f"{self.command} {path} {self.headers.get('Range', '-')} "
                           f"{self.headers.get('Authorization', '-')}")
            key = (self.command, path)
            Hub.counts[key] = Hub.counts.get(key, 0) + 1
            count = Hub.counts[key]
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.send_listing(parts[3])
        if len(parts) >= 5 and parts[2] == "resolve":
            return self.behave_as(parts[1], count)
        return self.send(404, b"nothing here")

    def send(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_listing(self, repo):
        if repo == "broken":
            return self.send(200, b'{"not": "an array"')
        if repo not in LISTING:
            return self.send(404, b"{}")
        return self.send(200, json.dumps([{"type": "file", "path": p} for p in LISTING[repo]]).encode())

    def behave_as(self, repo, count):
        """One request for a file; `count` is how often this method and path were asked for, this time included."""
        content, tag = CONTENT, hashlib.sha256(CONTENT).hexdigest()
        if repo == "missing":
            return self.send(404)
        if repo == "private" and self.headers.get("Authorization") != "Bearer secret":
            return self.send(401)
        if repo == "busy" and count <= 2:
            return self.send(503)
        if repo == "down":
            return self.send(500)
        if repo == "lying":
            tag = "0" * 64
        if repo in ("untagged", "swapped"):
            tag = None
        if repo == "changing" and count > 1 and self.command == "HEAD" or repo == "changing" and count > 2:
            content, tag = NEW_CONTENT, hashlib.sha256(NEW_CONTENT).hexdigest()
        swapped = repo == "swapped" and self.command == "GET" and count > 1
        if swapped:
            content = NEW_CONTENT
        cut_once = repo in ("changing", "cut-once", "swapped") and count == 1
        limit = 100_000 if repo == "cut" and count <= 2 or cut_once else None
        if repo == "always-cut":
            limit = 0
        return self.send_file(content, tag, ranges=repo != "whole", limit=limit or (100_000 if repo == "whole" and
                              count == 1 else limit), storage="new" if swapped else "storage")

    def send_file(self, content, tag, ranges, limit, storage):
        """Sends the asked-for bytes; after `limit` of them, when given, the connection is cut."""
        begin = 0
        asked = self.headers.get("Range")
        if asked and ranges:
            begin = int(asked.removeprefix("bytes=").split("-")[0])
            if begin >= len(content):
                return self.send(416)
        self.send_response(206 if asked and ranges else 200)
        if tag:
            self.send_header("X-Linked-Etag", f'"{tag}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("ETag", f'"{storage}"')
        if asked and ranges:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = content[begin:]
        self.wfile.write(body if limit is None else body[:limit])
        self.wfile.flush()
        if limit is not None:
            self.close_connection = True


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


main()
