#!/usr/bin/env python3
"""Two `s3d serve` behind HAProxy with deploy/haproxy.cfg: one is told to end, one is killed in the midst of an answer;
what the client asks again has the same text.

    balancer_test.py PROGRAM [unittest's options]

Exit code 77 (skipped) without HAProxy or without the model smollm2-135m in the cache folder.
"""

import contextlib
import http.client
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from running_server import EventStream, RunningServer, model_path  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
program = None


def question(tokens, **more):
    return {"prompt": "The three primary colours are", "max_tokens": tokens, "temperature": 0, **more}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Balancer:
    """HAProxy with the committed file, but for its ports."""

    host = "127.0.0.1"

    def __init__(self, ports):
        self.port = free_port()
        text = (ROOT / "deploy/haproxy.cfg").read_text()
        for old, new in ((":8000", self.port), (":8081", ports[0]), (":8082", ports[1])):
            assert old in text
            text = text.replace(old, f":{new}")
        self.file = tempfile.NamedTemporaryFile("w", suffix=".cfg")
        self.file.write(text)
        self.file.flush()
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", self.file.name], stderr=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)
        self.until(lambda: self.status("GET", "/health") == 200)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.file.close()

    def until(self, condition):
        while not condition():
            time.sleep(0.05)

    def status(self, method, path):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        with contextlib.closing(connection):
            try:
                connection.request(method, path)
                return connection.getresponse().status
            except OSError:
                return 0

    def text(self, body, headers=None):
        """The text of a streamed answer, and whether it came to its end."""
        stream = EventStream(self, "/v1/completions", {**body, "stream": True}, headers)
        if stream.status != 200:
            raise RuntimeError(f"status {stream.status}: {stream.response.read()}")
        parts = []
        with contextlib.suppress(OSError, http.client.HTTPException):
            for event in stream:
                parts += [choice["text"] for choice in event["choices"]]
        return "".join(parts), stream.ended


def running(server):
    return sum(slot["is_processing"] for slot in server.json("GET", "/slots"))


class BalancerTest(unittest.TestCase):
    def setUp(self):
        self.servers = [RunningServer(program), RunningServer(program)]
        self.balancer = Balancer([server.port for server in self.servers])

    def tearDown(self):
        self.balancer.stop()
        for server in self.servers:
            server.__exit__()

    def test_a_server_that_ends_is_not_noticed(self):
        expected = self.balancer.text(question(8))
        self.assertTrue(expected[1])
        self.servers[0].terminate()
        for _ in range(10):
            self.assertEqual(self.balancer.text(question(8)), expected)
        self.assertEqual(self.servers[0].wait(), 0)
        self.assertEqual(self.balancer.text(question(8)), expected)

    def test_a_server_that_is_killed_costs_a_second_try_and_no_letter(self):
        long = question(150, ignore_eos=True)
        expected, ended = self.balancer.text(long)
        self.assertTrue(ended)
        stream = EventStream(self.balancer, "/v1/completions", {**long, "stream": True})
        events = iter(stream)
        next(events)
        at_work = [server for server in self.servers if running(server) > 0]
        self.assertEqual(len(at_work), 1)
        at_work[0].process.send_signal(signal.SIGKILL)
        part = ""
        with contextlib.suppress(OSError, http.client.HTTPException):
            for event in events:
                part += event["choices"][0]["text"]
        self.assertFalse(stream.ended, "a part must not look whole")
        self.assertIn(part, expected)
        self.assertEqual(self.balancer.text(long), (expected, True))

    def test_one_key_leads_to_one_server(self):
        for number in range(6):
            self.assertTrue(self.balancer.text(question(1, prompt_cache_key="team-7"))[1])

        def counts():
            return sorted(server.log().count("POST /v1/completions") for server in self.servers)

        self.balancer.until(lambda: sum(counts()) == 6)  # the lines are written a moment later
        self.assertEqual(counts(), [0, 6])


def main():
    global program
    program = sys.argv.pop(1)
    if HAPROXY is None or model_path() is None:
        print("skipped: needs haproxy, and the model smollm2-135m in the cache folder")
        sys.exit(77)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
