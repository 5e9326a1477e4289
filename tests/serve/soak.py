#!/usr/bin/env python3
"""Streams beside hostile requests: every text is right, nothing hangs, the memory stays flat.

    soak.py PROGRAM [--seconds 60 | --requests N] [--streams 8] [--hostile 4] [--model NAME or FILE.gguf]

For a long run: soak.py build/src/cli/s3d --requests 10000. Exit code 77 (skipped) where the model is not there.
"""

import argparse
import contextlib
import http.client
import json
import random
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from running_server import RunningServer, model_path  # noqa: E402

WORDS = "red green blue one two three sun moon river stone bread music".split()


def question(word):
    return {"prompt": f"Here is a short list of words: {word},", "max_tokens": 24, "temperature": 0.8, "seed": len(word)}


class Soak:
    def __init__(self, server, seconds, requests):
        self.server = server
        self.start = time.monotonic()
        self.seconds, self.requests = seconds, requests  # requests: 0, or as many of them, however long they take
        self.lock = threading.Lock()
        self.counts = {}
        self.problems = []
        self.expected = {word: self.server.stream("/v1/completions", question(word)).text() for word in WORDS}

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    def part_done(self):
        if self.requests:
            with self.lock:
                return sum(self.counts.values()) / self.requests
        return (time.monotonic() - self.start) / self.seconds

    def over(self):
        return self.part_done() >= 1

    def streams(self, seed):
        """An honest client."""
        order = random.Random(seed)
        while not self.over():
            word = order.choice(WORDS)
            try:
                stream = self.server.stream("/v1/completions", question(word))
                if stream.status == 503:  # the queue is full: as it may be
                    self.count("busy")
                    stream.close()
                    time.sleep(0.2)
                    continue
                text = stream.text()
            except (OSError, http.client.HTTPException) as error:
                self.problem(f"a stream broke: {error!r}")
                continue
            self.count("streams")
            if text != self.expected[word] or not stream.ended:
                self.problem(f"'{word}': expected {self.expected[word]!r}, got {text!r}")

    def hostile(self, seed):
        order = random.Random(seed)
        kinds = [self.leaves, self.noise, self.half, self.bad_json, self.big_header, self.bad_chunks, self.reads_nothing]
        while not self.over():
            kind = order.choice(kinds)
            with contextlib.suppress(OSError, http.client.HTTPException):
                kind(order)
            self.count(kind.__name__)

    def leaves(self, order):
        stream = self.server.stream("/v1/completions", {**question("x"), "max_tokens": 500, "ignore_eos": True})
        for _, _event in zip(range(order.randrange(5)), stream):
            pass
        stream.close()

    def send(self, data):
        with self.server.connect() as client:
            client.settimeout(30)
            client.sendall(data)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass

    def noise(self, order):
        self.send(order.randbytes(order.randrange(1, 5000)))

    def half(self, order):
        whole = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"prompt\":"
        self.send(whole[: order.randrange(1, len(whole))])

    def bad_json(self, order):
        body = order.choice([b"{", b"[1,2", b"null", b"{\"prompt\": 7}", b"[" * 50000, b"{\"prompt\": \"a\", \"n\": -1}",
                             json.dumps({"prompt": "a", "temperature": "hot"}).encode(), b"\xff\xfe"])
        self.send(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def big_header(self, order):
        self.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * order.randrange(10000, 40000) + b"\r\n\r\n")

    def bad_chunks(self, order):
        chunk = order.choice([b"zz\r\n", b"ffffffffffffffff\r\n", b"3\r\nabcd\r\n", b"1;" + b"x" * 5000])
        self.send(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)

    def reads_nothing(self, order):
        body = json.dumps({**question("x"), "max_tokens": 50, "stream": True}).encode()
        with self.server.connect() as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(order.random())

    def run(self, streams, hostile):
        """Bytes that the server holds after a third of it all, and at the end."""
        threads = [threading.Thread(target=self.streams, args=(number,)) for number in range(streams)]
        threads += [threading.Thread(target=self.hostile, args=(1000 + number,)) for number in range(hostile)]
        for thread in threads:
            thread.start()
        while self.part_done() < 1 / 3:
            time.sleep(0.05)
        warm = self.server.resident_bytes()
        for thread in threads:
            thread.join()
        return warm, self.server.resident_bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--hostile", type=int, default=4)
    parser.add_argument("--model", default="smollm2-135m")
    o = parser.parse_args()
    model = Path(o.model) if o.model.endswith(".gguf") else model_path(o.model)
    if model is None or not model.exists():
        print(f"skipped: the model {o.model} is not in the cache folder")
        return 77
    # The prefix cache is full early, so that what it holds does not look like a leak.
    with RunningServer(o.program, "-c", "512", "-np", "8", "--cache-ram", "16", model=model) as server:
        soak = Soak(server, o.seconds, o.requests)
        warm, end = soak.run(o.streams, o.hostile)
        print(", ".join(f"{count} {what}" for what, count in sorted(soak.counts.items())))
        print(f"memory: {warm / 2**20:.0f} MiB after a third, {end / 2**20:.0f} MiB at the end")
        if end > warm * 1.05 + (16 << 20):
            soak.problems.append("the memory grew")
        server.until(lambda: not any(slot["is_processing"] for slot in server.json("GET", "/slots")))
        server.terminate()
        if server.wait() != 0:
            soak.problems.append("the server did not end well")
    for problem in soak.problems[:10]:
        print(f"FAILED: {problem}")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
