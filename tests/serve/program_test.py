#!/usr/bin/env python3
"""`s3d serve` from outside, with a real model: streams, clients that leave, limits, how it ends.

    program_test.py PROGRAM [unittest's options]

Exit code 77 (skipped) where the model smollm2-135m is not in the cache folder.
"""

import json
import re
import resource
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from running_server import RunningServer, model_path  # noqa: E402

program = None
PROMPT = "The three primary colours are"


def question(tokens, **more):
    return {"prompt": PROMPT, "max_tokens": tokens, "temperature": 0, **more}


def endless():
    """An answer that lasts: text that repeats is drafted so well that it would soon be over."""
    return question(4000, ignore_eos=True, s3d={"drafter": "off"})


def metric(server, name):
    """The sum of a metric's samples."""
    page = server.request("GET", "/metrics")[2].decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE))


class OneServer(unittest.TestCase):
    """Tests that leave the server as it was share one."""

    @classmethod
    def setUpClass(cls):
        cls.server = RunningServer(program, "-c", "2048", "--parallel", "4")
        cls.answer = cls.server.json("POST", "/v1/completions", question(24))["choices"][0]["text"]

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def running(self):
        return sum(slot["is_processing"] for slot in self.server.json("GET", "/slots"))

    def test_health(self):
        self.assertEqual(self.server.json("GET", "/health"), {"status": "ok"})
        status, headers, body = self.server.request("HEAD", "/health")
        self.assertEqual((status, headers["Content-Length"], body), (200, "15", b""))

    def test_browsers_of_other_origins_may_ask(self):
        status, headers, _ = self.server.request(
            "OPTIONS", "/v1/chat/completions",
            headers={"Origin": "http://page", "Access-Control-Request-Headers": "authorization"})
        self.assertEqual(status, 204)
        self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
        self.assertEqual(headers["Access-Control-Allow-Headers"], "authorization")

    def test_a_stream_has_the_text_of_an_answer_in_one_piece(self):
        stream = self.server.stream("/v1/completions", question(24))
        self.assertEqual(stream.response.headers["Content-Type"].split(";")[0], "text/event-stream")
        self.assertEqual(stream.text(), self.answer)
        self.assertTrue(stream.ended, "data: [DONE]")

    def test_a_chat_streams(self):
        stream = self.server.stream("/v1/chat/completions",
                                    {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8})
        deltas = [event["choices"][0]["delta"] for event in stream if event["choices"]]
        self.assertEqual(deltas[0].get("role"), "assistant")
        self.assertTrue("".join(delta.get("content") or "" for delta in deltas))
        self.assertTrue(stream.ended)

    def test_who_leaves_ends_the_answer(self):
        stream = self.server.stream("/v1/completions", question(1900, ignore_eos=True))
        next(iter(stream))
        self.assertGreaterEqual(self.running(), 1)
        stream.close()
        self.server.until(lambda: self.running() == 0)

    def test_who_leaves_during_a_long_prompt_ends_it(self):
        with self.server.connect() as client:
            body = json.dumps(question(100, prompt="word " * 1500)).encode()
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.server.until(lambda: self.running() > 0)
        self.server.until(lambda: self.running() == 0)

    def test_answers_at_the_same_time_are_those_of_each_alone(self):
        prompts = [f"{PROMPT} {word}" for word in ("red", "green", "blue", "one", "two", "three")]
        alone = [self.server.json("POST", "/v1/completions", question(16, prompt=p))["choices"][0]["text"]
                 for p in prompts]
        streams = [self.server.stream("/v1/completions", question(16, prompt=p)) for p in prompts]
        self.assertEqual([stream.text() for stream in streams], alone)

    def test_pipelined_requests_are_answered_in_order(self):
        body = json.dumps(question(4)).encode()
        post = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        health = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        with self.server.connect() as client:
            client.sendall(post + post + health)
            everything = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertEqual(everything.count(b"HTTP/1.1 200 OK"), 3)
        self.assertTrue(everything.endswith(b'{"status":"ok"}'))

    def test_a_body_in_chunks(self):
        body = json.dumps(question(4)).encode()
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
        with self.server.connect() as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                           b"Connection: close\r\n\r\n" + chunks)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK"), answer)

    def test_hundreds_of_idle_connections_disturb_nobody(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        idle = []
        try:
            for number in range(500):
                idle.append(self.server.connect())
                if number % 2 == 0:
                    idle[-1].sendall(b"POST /v1/completions HTTP/1.1\r\nHost:")
            stream = self.server.stream("/v1/completions", question(24))
            self.assertEqual(stream.text(), self.answer)
        finally:
            for client in idle:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_nonsense_is_refused_and_disturbs_nobody(self):
        stream = self.server.stream("/v1/completions", question(24))
        for nonsense in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\nHost: a\n\n", b"GET /" + b"x" * 20000,
                         b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                         b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n"):
            with self.server.connect() as client:
                client.sendall(nonsense)
                client.shutdown(1)
                client.recv(1000)
        self.assertEqual(stream.text(), self.answer)

    def test_the_log_has_no_text_of_a_prompt(self):
        status, headers, _ = self.server.request("POST", "/v1/completions", question(1, prompt="secret word"),
                                                 {"X-Request-Id": "my-request-1"})
        self.assertEqual((status, headers["x-request-id"]), (200, "my-request-1"))
        self.server.until(lambda: "my-request-1" in self.server.log())
        self.assertNotIn("secret", self.server.log())


class EndsAndLimits(unittest.TestCase):
    """Tests that need a server of their own."""

    def test_listens_before_the_model_is_there(self):
        with RunningServer(program, wait=False) as server:
            status, headers, body = server.request("GET", "/health")
            if status != 200:  # a fast machine may have loaded it
                self.assertEqual(status, 503)
                self.assertEqual(headers["Retry-After"], "2")
                self.assertEqual(json.loads(body)["error"]["message"], "Loading model")
            server.wait_for_line("^ready: ")
            self.assertEqual(server.request("GET", "/health")[0], 200)

    def test_asks_for_keys(self):
        with RunningServer(program, environment={"LLAMA_API_KEY": "one,two"}) as server:
            self.assertEqual(server.request("GET", "/health")[0], 200)
            self.assertEqual(server.request("GET", "/v1/models")[0], 401)
            self.assertEqual(server.request("GET", "/v1/models", headers={"Authorization": "Bearer no"})[0], 401)
            self.assertEqual(server.request("GET", "/v1/models", headers={"Authorization": "Bearer two"})[0], 200)
            self.assertEqual(server.request("GET", "/v1/models", headers={"X-Api-Key": "one"})[0], 200)

    def test_limits_the_queue(self):
        with RunningServer(program, "-np", "1", "--max-queue", "1") as server:
            long = endless()
            first = server.stream("/v1/completions", long)
            next(iter(first))
            with server.connect() as second:  # waits in the queue
                body = json.dumps(long).encode()
                second.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                server.until(lambda: metric(server, "vllm:num_requests_waiting") == 1)
                status, headers, _ = server.request("POST", "/v1/completions", question(1))
                self.assertEqual(status, 503)
                self.assertTrue(headers["Retry-After"])
            server.until(lambda: metric(server, "vllm:num_requests_waiting") == 0)
            first.close()

    def test_limits_the_requests_of_one_client(self):
        with RunningServer(program, "--per-client", "1") as server:
            first = server.stream("/v1/completions", endless())
            next(iter(first))
            status, headers, _ = server.request("POST", "/v1/completions", question(1))
            self.assertEqual(status, 429)
            self.assertTrue(headers["Retry-After"])
            first.close()
            server.until(lambda: server.request("POST", "/v1/completions", question(1))[0] == 200)

    def test_sigterm_lets_answers_finish(self):
        with RunningServer(program) as server:
            stream = server.stream("/v1/completions", question(1000, ignore_eos=True))
            events = iter(stream)
            next(events)
            with server.connect() as idle:
                server.terminate()
                server.wait_for_line("ending; waiting for 1")
                self.assertEqual(idle.recv(10), b"", "an idle connection ends")
            status, headers, _ = server.request("GET", "/health")
            self.assertEqual((status, headers["Connection"]), (503, "close"))
            self.assertEqual(server.request("POST", "/v1/completions", question(1))[0], 503)
            for _ in events:
                pass
            self.assertTrue(stream.ended, "the answer came to its end")
            self.assertEqual(server.wait(), 0)

    def test_a_second_sigterm_ends_it_at_once(self):
        with RunningServer(program, "-c", "8192") as server:
            stream = server.stream("/v1/completions", question(8000, ignore_eos=True))
            next(iter(stream))
            server.terminate()
            server.wait_for_line("ending; waiting for 1")
            server.terminate()
            self.assertEqual(server.wait(), 0)

    def test_starts_again_after_it_was_killed(self):
        with RunningServer(program) as server:
            port = server.port
            answer = server.json("POST", "/v1/completions", question(16))["choices"][0]["text"]
            stream = server.stream("/v1/completions", question(500, ignore_eos=True))
            next(iter(stream))
            server.process.send_signal(signal.SIGKILL)
            server.wait()
        with RunningServer(program, port=port) as server:
            self.assertEqual(server.json("POST", "/v1/completions", question(16))["choices"][0]["text"], answer)


def main():
    global program
    program = sys.argv.pop(1)
    if model_path() is None:
        print("skipped: the model smollm2-135m is not in the cache folder")
        sys.exit(77)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
