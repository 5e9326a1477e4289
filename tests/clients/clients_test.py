#!/usr/bin/env python3
"""Real clients against `s3d serve`, which this test starts. Usage: clients_test.py S3D MODEL, in the environment that
requirements.txt describes. MODEL needs a chat template (smollm2-135m)."""

import json
import re
import subprocess
import sys
import threading
import unittest
import urllib.request

import ollama
import openai
from prometheus_client.parser import text_string_to_metric_families

S3D, MODEL = sys.argv[1:3]
QUESTION = [{"role": "user", "content": "Name the capital of France."}]


class Server:
    def __init__(self):
        command = [S3D, "serve", "-m", MODEL, "--port", "0", "--log-disable"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = None
        ready = threading.Event()
        threading.Thread(target=self._read, args=(ready,), daemon=True).start()
        if not ready.wait(120):
            raise AssertionError("the server did not become ready")

    def _read(self, ready):
        for line in self.process.stderr:
            found = re.search(r"ready: (http://\S+)", line)
            if found:
                self.url = found[1]
                ready.set()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


SERVER = Server()


class OpenAiClient(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(base_url=SERVER.url + "/v1", api_key="none", max_retries=0)

    def chat(self, **more):
        return self.client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=24, seed=1, **more)

    def test_answers(self):
        answer = self.chat()
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer.id.startswith("chatcmpl-"))
        self.assertEqual(answer.choices[0].message.content, self.chat().choices[0].message.content)

    def test_streams(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, self.chat().choices[0].message.content)
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=QUESTION, max_tokens=8) as stream:
            kinds = {event.type for event in stream}
            self.assertIn("content.delta", kinds)
            self.assertTrue(stream.get_final_completion().choices[0].message.content)

    def test_logprobs_and_n(self):
        answer = self.chat(logprobs=True, top_logprobs=3, n=2, temperature=1)
        self.assertEqual(len(answer.choices), 2)
        for choice in answer.choices:
            self.assertEqual(len(choice.logprobs.content[0].top_logprobs), 3)

    def test_completions(self):
        answer = self.client.completions.create(model=MODEL, prompt=["One two", "A b c"], max_tokens=4)
        self.assertEqual(len(answer.choices), 2)

    def test_responses(self):
        answer = self.client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16)
        self.assertTrue(answer.output_text)
        kinds = [event.type for event in
                 self.client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, stream=True)]
        self.assertEqual(kinds[0], "response.created")
        self.assertIn(kinds[-1], ("response.completed", "response.incomplete"))

    def test_models(self):
        models = self.client.models.list().data
        self.assertEqual(self.client.models.retrieve(models[0].id).id, models[0].id)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model=MODEL, prompt="word " * 20000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.InternalServerError):
            self.client.embeddings.create(model=MODEL, input="a")


class OllamaClient(unittest.TestCase):
    def setUp(self):
        self.client = ollama.Client(host=SERVER.url)
        self.model = self.client.list().models[0].model

    def test_chats(self):
        options = {"num_predict": 16, "seed": 1}
        whole = self.client.chat(model=self.model, messages=QUESTION, options=options)
        self.assertTrue(whole.message.content)
        self.assertTrue(whole.done)
        parts = self.client.chat(model=self.model, messages=QUESTION, options=options, stream=True)
        self.assertEqual("".join(part.message.content for part in parts), whole.message.content)

    def test_generates(self):
        self.assertTrue(self.client.generate(model=self.model, prompt="Hello", options={"num_predict": 8}).response)

    def test_models(self):
        shown = self.client.show(self.model)
        self.assertIn("completion", shown.capabilities)
        self.assertEqual(self.client.ps().models[0].size_vram, 0)

    def test_errors(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat(model="none", messages=QUESTION)
        self.assertEqual(caught.exception.status_code, 404)


class Suites(unittest.TestCase):
    def test_llm_comply(self):
        # What cannot be had: images; an error for a request without "model", which llama-server answers too; calls of
        # tools from a model that is as small as that of this test.
        excused = {"chat-image-input", "image-input", "chat-error-handling", "error-handling", "chat-tool-calling",
                   "tool-calling"}
        for form in ("openai-chat", "open-responses"):
            with self.subTest(form):
                run = subprocess.run([sys.prefix + "/bin/llm-comply", "--format", form, "-u", SERVER.url + "/v1", "-k",
                                      "none", "-m", MODEL, "--json"], capture_output=True, text=True)
                results = json.loads(run.stdout)["results"]
                failed = [case for case in results if case["status"] == "failed" and case["id"] not in excused]
                self.assertGreater(len(results), 5)
                self.assertEqual(failed, [], run.stderr)

    def test_metrics_can_be_read(self):
        page = urllib.request.urlopen(SERVER.url + "/metrics").read().decode()
        names = {family.name for family in text_string_to_metric_families(page)}
        self.assertIn("vllm:num_requests_running", names)
        self.assertIn("vllm:time_to_first_token_seconds", names)
        self.assertIn("llamacpp:prompt_tokens", names)


if __name__ == "__main__":
    try:
        program = unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2, exit=False)
    finally:
        SERVER.stop()
    sys.exit(0 if program.result.wasSuccessful() else 1)
