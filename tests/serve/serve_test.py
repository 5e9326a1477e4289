#!/usr/bin/env python3
"""Starts `s3d serve` with a tiny model and talks to it over a socket. Usage: serve_test.py S3D MODEL.gguf"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

S3D, MODEL = sys.argv[1:3]
START_SECONDS = 120  # a sanitized program on a busy machine is slow


class Server:
    """`s3d serve` on a free port."""

    def __init__(self, *options):
        self.cache = tempfile.TemporaryDirectory()
        environment = dict(os.environ, S3D_CACHE=self.cache.name)
        command = [S3D, "serve", "-m", MODEL, "--port", "0", "-t", "2", "--log-disable", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.port = None
        self.lines = []
        ready = threading.Event()
        threading.Thread(target=self._read, args=(ready,), daemon=True).start()
        if not ready.wait(START_SECONDS):
            raise AssertionError("the server did not become ready:\n" + "".join(self.lines))

    def _read(self, ready):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"ready: http://[^:]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                ready.set()

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        answer = response.status, response.getheaders(), response.read()
        connection.close()
        return answer

    def get(self, path):
        status, _, body = self.request("GET", path)
        return status, json.loads(body)

    def post(self, path, body):
        status, _, answer = self.request("POST", path, body)
        return status, json.loads(answer)

    def events(self, path, body):
        """The events of a stream, each without "data: "."""
        status, _, answer = self.request("POST", path, dict(body, stream=True))
        if status != 200:
            raise AssertionError(answer)
        return [line.removeprefix("data: ") for line in answer.decode().splitlines() if line]

    def stop(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        code = self.process.wait(START_SECONDS)
        self.process.stderr.close()
        self.cache.cleanup()
        return code


COMPLETE = {"prompt": "the in an", "max_tokens": 20, "ignore_eos": True, "temperature": 0.8, "seed": 11}


class ServeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--parallel", "4", "--no-any-model")

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, code

    def text(self, **more):
        status, answer = self.server.post("/v1/completions", dict(COMPLETE, **more))
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]["text"]

    def test_is_healthy(self):
        self.assertEqual(self.server.get("/health"), (200, {"status": "ok"}))

    def test_lists_its_model(self):
        _, models = self.server.get("/v1/models")
        self.assertEqual(len(models["data"]), 1)
        self.assertEqual(models["data"][0]["meta"]["n_vocab"], 106)
        _, tags = self.server.get("/api/tags")
        self.assertEqual(tags["models"][0]["details"]["family"], "llama")

    def test_the_same_seed_gives_the_same_text(self):
        text = self.text()
        self.assertEqual(self.text(), text)
        self.assertEqual(self.text(s3d={"drafter": "off"}), text)
        self.assertEqual(self.text(cache_prompt=False), text)
        self.assertNotEqual(self.text(seed=12), text)

    def test_a_stream_is_the_same_text(self):
        events = self.server.events("/v1/completions", dict(COMPLETE, stream_options={"include_usage": True}))
        self.assertEqual(events[-1], "[DONE]")
        events = [json.loads(event) for event in events[:-1]]
        self.assertEqual("".join(e["choices"][0]["text"] for e in events if e["choices"]), self.text())
        self.assertEqual(events[-1]["usage"]["completion_tokens"], 20)
        native = [json.loads(event) for event in self.server.events("/completion", dict(COMPLETE, n_predict=20))]
        self.assertEqual("".join(e["content"] for e in native), self.text())
        lines = self.server.events("/api/generate", {"model": tag_of(self.server), "prompt": "the in an", "raw": True,
                                                     "options": {"num_predict": 5, "seed": 3}})
        self.assertEqual(json.loads(lines[-1])["done"], True)

    def test_many_at_once_get_what_each_gets_alone(self):
        seeds = list(range(12))
        alone = [self.text(seed=seed) for seed in seeds]
        together = [None] * len(seeds)

        def ask(i):
            together[i] = self.text(seed=seeds[i])

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(seeds))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_several_answers(self):
        _, answer = self.server.post("/v1/completions", dict(COMPLETE, n=3))
        texts = [choice["text"] for choice in answer["choices"]]
        self.assertEqual(texts[0], self.text())
        self.assertEqual(len(set(texts)), 3)

    def test_stops(self):
        text = self.text()
        stop = text[len(text) // 2:][:2]
        self.assertEqual(self.text(stop=stop), text[:text.index(stop)])

    def test_logprobs(self):
        _, answer = self.server.post("/v1/completions", dict(COMPLETE, temperature=0, logprobs=2))
        logprobs = answer["choices"][0]["logprobs"]
        self.assertEqual(len(logprobs["tokens"]), 20)
        self.assertEqual("".join(logprobs["tokens"]), answer["choices"][0]["text"])
        for logprob, top in zip(logprobs["token_logprobs"], logprobs["top_logprobs"]):
            self.assertLess(logprob, 0)
            self.assertAlmostEqual(max(top.values()), logprob)

    def test_tokens_come_back(self):
        _, answer = self.server.post("/tokenize", {"content": "the in"})
        self.assertEqual(self.server.post("/detokenize", answer)[1]["content"].strip(), "the in")

    def test_errors_name_what_is_wrong(self):
        for body, status, param in [({"prompt": "a", "temperature": -1}, 400, "temperature"),
                                    ({"prompt": "a", "model": "none"}, 404, "model"),
                                    ({"prompt": "the " * 2000}, 400, "prompt"),
                                    ({}, 400, "prompt")]:
            got, answer = self.server.post("/v1/completions", body)
            self.assertEqual((got, answer["error"]["param"]), (status, param), answer)
        self.assertEqual(self.server.request("POST", "/v1/completions", b"\xff")[0], 400)
        self.assertEqual(self.server.request("GET", "/nothing")[0], 404)
        self.assertEqual(self.server.request("PUT", "/v1/completions")[0], 405)

    def test_a_client_that_leaves_ends_its_answer(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=START_SECONDS)
        body = json.dumps({"prompt": "the", "ignore_eos": True, "stream": True, "max_tokens": 400})
        connection.request("POST", "/v1/completions", body)
        connection.getresponse().read(10)
        connection.sock.close()
        connection.close()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if not any(slot["is_processing"] for slot in self.server.get("/slots")[1]):
                break
            time.sleep(0.02)
        else:
            self.fail("the answer goes on")
        self.text()

    def test_counts(self):
        self.text()
        _, _, page = self.server.request("GET", "/metrics")
        found = re.search(rb"^llamacpp:tokens_predicted_total (\d+)$", page, re.M)
        self.assertGreaterEqual(int(found[1]), 20)
        self.assertIn(b"vllm:num_requests_running", page)

    def test_root(self):
        self.assertEqual(self.server.request("GET", "/")[2], b"Ollama is running")
        self.assertIn(b"<html", self.server.request("GET", "/", headers={"Accept": "text/html"})[2])


def tag_of(server):
    return server.get("/api/tags")[1]["models"][0]["name"]


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
