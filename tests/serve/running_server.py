"""Starts `s3d serve` for a test, and speaks HTTP with it. Python's own library only."""

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path


def model_path(name="smollm2-135m"):
    """The model in the cache folder, or None."""
    cache = os.environ.get("S3D_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3d"
    path = Path(cache) / "models" / f"{name}.gguf"
    return path if path.exists() else None


class RunningServer:
    """`s3d serve` on a free port. A context manager: it is killed at the end, if it still runs."""

    def __init__(self, program, *options, model=None, wait=True, environment=None, port=0):
        command = [str(program), "serve", "-m", str(model or model_path()), "--port", str(port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                                        env={**os.environ, **(environment or {})})
        self.lines = []
        self._new = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        line = self.wait_for_line(r"listening on http")
        self.host, port = re.search(r"http://([^:]+):(\d+)", line).groups()
        self.port = int(port)
        if wait:
            self.wait_for_line(r"^ready: ")

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self._new.put(line)
        self._new.put(None)

    def wait_for_line(self, pattern):
        """The next line of standard error that fits."""
        while True:
            line = self._new.get(timeout=600)
            if line is None:
                raise RuntimeError("the server ended:\n" + "".join(self.lines))
            if re.search(pattern, line):
                return line

    def log(self):
        return "".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        return self.process.wait(timeout=600)

    def resident_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def connect(self):
        sock = socket.create_connection((self.host, self.port), timeout=600)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        with contextlib.closing(connection):
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def json(self, method, path, body=None, headers=None):
        status, _, data = self.request(method, path, body, headers)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {data.decode(errors='replace')}")
        return json.loads(data)

    def stream(self, path, body, headers=None):
        """A stream of server-sent events: an EventStream, whose request is under way."""
        return EventStream(self, path, {**body, "stream": True}, headers)

    def until(self, condition):
        """Asks until it holds. A server that never gets there hangs the test, which has a time limit of its own."""
        while not condition():
            time.sleep(0.02)


class EventStream:
    """The data of the events of one streamed answer; close() is a client that leaves."""

    def __init__(self, server, path, body, headers=None):
        self.connection = http.client.HTTPConnection(server.host, server.port, timeout=600)
        self.connection.request("POST", path, json.dumps(body).encode(),
                                {"Content-Type": "application/json", **(headers or {})})
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.ended = False

    def __iter__(self):
        for line in self.response:
            if line.startswith(b"data: "):
                data = line[len(b"data: "):].strip()
                if data == b"[DONE]":
                    self.ended = True
                else:
                    yield json.loads(data)
        self.close()

    def text(self):
        """Of the whole rest of a stream of /v1/completions."""
        return "".join(choice["text"] for event in self for choice in event.get("choices", []))

    def close(self):
        # The response holds a reference to the socket: shut it down, so that the server sees the end at once.
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()
