#!/usr/bin/env python3
"""Real clients against `s3d serve`, which this test starts. Usage: clients_test.py S3D MODEL, in the environment that
requirements.txt describes. MODEL needs a chat template (smollm2-135m)."""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request
from pathlib import Path
from typing import Literal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # litellm would ask the net for prices

import litellm
import ollama
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from openai_paths import openai_paths

S3D, MODEL = sys.argv[1:3]
TEXT = "Name the capital of France."
QUESTION = [{"role": "user", "content": TEXT}]


class City(BaseModel):
    """A form without free numbers and texts: a small model may write those for ever."""
    name: Literal["Paris", "Rome"]
    country: Literal["France", "Italy"]
    capital: bool


class Add(BaseModel):
    """Adds two digits."""
    a: Literal[1, 2, 3]
    b: Literal[1, 2, 3]


CITY_TOOL = {"type": "function", "function": {"name": "city", "description": "Looks a city up.",
                                              "parameters": City.model_json_schema()}}
ADD_TOOL = openai.pydantic_function_tool(Add)


class Server:
    def __init__(self, *more, model=MODEL):
        command = [S3D, "serve", "-m", str(model), "--port", "0", "--log-disable", *more]
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


def embedding_model(folder):
    """A tiny model whose file names a pooling: the last token. The new keys keep the file's alignment of 32 bytes."""
    source = Path(__file__).parents[1] / "data" / "models" / "qwen3-f32.gguf"
    data = source.read_bytes()
    key, filler = b"qwen3.pooling_type", b"test.filler"
    keys = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, 3)
    keys += struct.pack("<Q", len(filler)) + filler + struct.pack("<IQ", 8, 31) + b"." * 31
    count = struct.unpack_from("<Q", data, 16)[0]
    path = Path(folder) / "embedding.gguf"
    path.write_bytes(data[:16] + struct.pack("<Q", count + 2) + keys + data[24:])
    return path


class Embeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server("-t", "1", model=embedding_model(cls.folder.name))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def test_openai(self):
        client = openai.OpenAI(base_url=self.server.url + "/v1", api_key="none", max_retries=0)
        packed = client.embeddings.create(model="embedding", input=["the in", "an"])  # base64, by itself
        plain = client.embeddings.create(model="embedding", input=["the in", "an"], encoding_format="float")
        self.assertEqual([one.embedding for one in packed.data], [one.embedding for one in plain.data])
        self.assertAlmostEqual(sum(x * x for x in packed.data[0].embedding), 1, places=5)
        self.assertEqual(packed.usage.prompt_tokens, packed.usage.total_tokens)

    def test_langchain(self):
        model = OpenAIEmbeddings(base_url=self.server.url + "/v1", api_key="none", model="embedding",
                                 check_embedding_ctx_length=False)
        self.assertEqual(len(model.embed_documents(["the", "in an"])), 2)

    def test_ollama(self):
        client = ollama.Client(host=self.server.url)
        vectors = client.embed(model="embedding", input=["the in", "an"]).embeddings
        self.assertEqual(len(vectors), 2)
        self.assertEqual(list(vectors[1]), list(client.embeddings(model="embedding", prompt="an").embedding))


class OpenAiForms(unittest.TestCase):
    """Structured output and tools with openai-python."""

    def setUp(self):
        self.client = openai.OpenAI(base_url=SERVER.url + "/v1", api_key="none", max_retries=0)
        self.request = {"model": MODEL, "messages": QUESTION, "max_tokens": 100}

    def test_parses(self):
        chat = self.client.chat.completions
        answer = chat.parse(response_format=City, **self.request)
        self.assertIsInstance(answer.choices[0].message.parsed, City)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        with chat.stream(response_format=City, **self.request) as stream:
            self.assertIn("content.done", {event.type for event in stream})
            self.assertEqual(stream.get_final_completion().choices[0].message.parsed, answer.choices[0].message.parsed)

    def test_parses_responses(self):
        request = {"model": MODEL, "input": TEXT, "text_format": City, "max_output_tokens": 100}
        parsed = self.client.responses.parse(**request).output_parsed
        self.assertIsInstance(parsed, City)
        with self.client.responses.stream(**request) as stream:
            self.assertIn("response.output_text.done", {event.type for event in stream})
            self.assertEqual(stream.get_final_response().output_parsed, parsed)

    def called(self, choice):
        """Name and arguments of the one call that a whole answer has and of the one that a stream has."""
        request = {"tools": [CITY_TOOL, ADD_TOOL], "tool_choice": choice, "parallel_tool_calls": False, **self.request}
        answer = self.client.chat.completions.create(**request).choices[0]
        self.assertEqual(answer.finish_reason, "tool_calls")
        self.assertIsNone(answer.message.content)
        chunks = [c.choices[0] for c in self.client.chat.completions.create(stream=True, **request) if c.choices]
        self.assertEqual(chunks[-1].finish_reason, "tool_calls")
        deltas = [delta for chunk in chunks for delta in chunk.delta.tool_calls or []]
        self.assertEqual(len([delta for delta in deltas if delta.id]), 1)
        self.assertGreater(len(deltas), 2)  # arguments come in pieces
        whole = [(call.function.name, call.function.arguments) for call in answer.message.tool_calls]
        return whole, [("".join(delta.function.name or "" for delta in deltas),
                        "".join(delta.function.arguments or "" for delta in deltas))]

    def test_calls_what_is_required(self):
        whole, streamed = self.called("required")
        self.assertEqual(whole, streamed)
        {"city": City, "Add": Add}[whole[0][0]].model_validate_json(whole[0][1])

    def test_calls_what_is_named(self):
        whole, streamed = self.called({"type": "function", "function": {"name": "Add"}})
        self.assertEqual(whole, streamed)
        self.assertEqual(whole[0][0], "Add")
        Add.model_validate_json(whole[0][1])

    def test_parses_calls(self):
        request = {"tools": [ADD_TOOL], "tool_choice": "required", **self.request}
        call = self.client.chat.completions.parse(**request).choices[0].message.tool_calls[0]
        self.assertIsInstance(call.function.parsed_arguments, Add)
        with self.client.chat.completions.stream(**request) as stream:
            self.assertIn("tool_calls.function.arguments.done", {event.type for event in stream})

    def test_takes_what_a_tool_said(self):
        call = {"id": "call_1", "type": "function", "function": {"name": "Add", "arguments": '{"a": 1, "b": 2}'}}
        history = QUESTION + [{"role": "assistant", "content": None, "tool_calls": [call]},
                              {"role": "tool", "tool_call_id": "call_1", "content": "3"}]
        answer = self.client.chat.completions.create(model=MODEL, messages=history, tools=[ADD_TOOL], max_tokens=8)
        self.assertTrue(answer.choices[0].message.content)


class LangChain(unittest.TestCase):
    def setUp(self):
        self.chat = ChatOpenAI(model=MODEL, base_url=SERVER.url + "/v1", api_key="none", max_tokens=100, max_retries=0,
                               seed=1, stream_usage=True)

    def test_invokes_and_streams(self):
        answer = self.chat.invoke(TEXT)
        self.assertTrue(answer.content)
        chunks = list(self.chat.stream(TEXT))
        self.assertEqual("".join(chunk.content for chunk in chunks), answer.content)
        usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
        self.assertEqual([u["output_tokens"] for u in usage], [answer.usage_metadata["output_tokens"]])

    def test_batches(self):
        self.assertEqual(len(self.chat.batch([TEXT, "Hello"])), 2)

    def test_structured_output(self):
        for method in ("json_schema", "function_calling"):
            with self.subTest(method):
                self.assertIsInstance(self.chat.with_structured_output(City, method=method).invoke(TEXT), City)

    def test_tools(self):
        @tool
        def capital(country: Literal["France", "Italy"]) -> str:
            """Tells the capital of a country."""
            return country

        calls = self.chat.bind_tools([capital], tool_choice="any").invoke(TEXT).tool_calls
        self.assertEqual([call["name"] for call in calls], ["capital"])
        self.assertIn(calls[0]["args"]["country"], ("France", "Italy"))

    def test_responses(self):
        chat = ChatOpenAI(model=MODEL, base_url=SERVER.url + "/v1", api_key="none", use_responses_api=True)
        self.assertTrue(chat.invoke(TEXT).text)


class LiteLlm(unittest.TestCase):
    """The same questions by OpenAI's and by Ollama's routes."""
    WAYS = {"openai/": "/v1", "ollama_chat/": ""}

    def ask(self, way, **more):
        return litellm.completion(model=way + MODEL, api_base=SERVER.url + self.WAYS[way], api_key="none",
                                  messages=QUESTION, max_tokens=100, num_retries=0, **more)

    def test_answers_and_streams(self):
        for way in self.WAYS:
            with self.subTest(way):
                text = self.ask(way).choices[0].message.content
                self.assertTrue(text)
                chunks = list(self.ask(way, stream=True))
                self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks), text)

    def test_structured_output(self):
        for way in self.WAYS:
            with self.subTest(way):
                City.model_validate_json(self.ask(way, response_format=City).choices[0].message.content)

    def test_tools(self):
        answer = self.ask("openai/", tools=[ADD_TOOL], tool_choice="required").choices[0]
        Add.model_validate_json(answer.message.tool_calls[0].function.arguments)
        self.ask("ollama_chat/", tools=[ADD_TOOL])  # that interface has no tool_choice: the model is free


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

    def test_format(self):
        request = {"model": self.model, "format": City.model_json_schema(), "options": {"num_predict": 100}}
        whole = self.client.chat(messages=QUESTION, **request).message.content
        City.model_validate_json(whole)
        parts = self.client.chat(messages=QUESTION, stream=True, **request)
        self.assertEqual("".join(part.message.content for part in parts), whole)
        City.model_validate_json(self.client.generate(prompt=TEXT, **request).response)

    def test_models(self):
        shown = self.client.show(self.model)
        self.assertIn("completion", shown.capabilities)
        self.assertEqual(self.client.ps().models[0].size_vram, 0)

    def test_errors(self):
        with self.assertRaises(ollama.ResponseError) as caught:
            self.client.chat(model="none", messages=QUESTION)
        self.assertEqual(caught.exception.status_code, 404)


class Programs(unittest.TestCase):
    """The command `llm`, with the server as a model of its configuration."""

    def test_llm(self):
        with tempfile.TemporaryDirectory() as folder:
            model = {"model_id": "s3d", "model_name": MODEL, "api_base": SERVER.url + "/v1", "supports_schema": True}
            Path(folder, "extra-openai-models.yaml").write_text(json.dumps([model]))

            def ask(*more):
                command = [sys.prefix + "/bin/llm", "-m", "s3d", "--key", "none", "-o", "max_tokens", "60", *more, TEXT]
                return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120,
                                      stdin=subprocess.DEVNULL, env={**os.environ, "LLM_USER_PATH": folder}).stdout

            streamed = ask()
            self.assertTrue(streamed.strip())
            self.assertEqual(ask("--no-stream"), streamed)
            City.model_validate_json(ask("--schema", json.dumps(City.model_json_schema())))


class Suites(unittest.TestCase):
    def test_schemathesis(self):
        """Thousands of requests that OpenAI's description allows or nearly allows: no status 5xx, and none that never
        ends. A short context bounds the answers."""
        server = Server("-c", "128")
        try:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "openai.json").write_text(json.dumps(openai_paths(), default=str))
                # TRACE and the like are answered with 501, as the standard of HTTP has it.
                methods = "[phases.coverage]\nunexpected-methods = [\"DELETE\", \"PUT\"]\n"
                Path(folder, "schemathesis.toml").write_text(methods)
                run = subprocess.run(
                    [sys.prefix + "/bin/schemathesis", "--config-file", "schemathesis.toml", "--no-color", "run",
                     "openai.json", "--url", server.url + "/v1", "--checks", "not_a_server_error", "--phases",
                     "examples,coverage,fuzzing", "--max-examples", "30", "--seed", "1", "--no-shrink",
                     "--request-timeout", "60", "--suppress-health-check", "all", "--generation-database", "none",
                     "--warnings", "off"], cwd=folder, capture_output=True, text=True, timeout=1200)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            self.assertGreater(int(re.search(r"(\d+) generated", run.stdout)[1]), 1000)
            self.assertIsNone(server.process.poll())
        finally:
            server.stop()

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
