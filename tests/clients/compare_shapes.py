#!/usr/bin/env python3
"""Compares the answers of `s3d serve` with those of llama.cpp's server: the same requests to both, and then the names
and JSON types of all members.

    compare_shapes.py S3D MODEL.gguf [--peer "bench/peers/llama-server {model} {port}"] [--show]

Both servers are started here. Exit code 1: a member that llama-server has is missing or has another type, or one that
only we have is not known to be ours. 77: there is no llama-server here (bench/peers/run --setup). Python's own library
only."""

import argparse
import fnmatch
import json
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELLO = [{"role": "user", "content": "Say hello."}]
SHORT = {"max_tokens": 6, "temperature": 0, "seed": 1}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "enum": ["here", "there"]}}, "required": ["place"]}}}


def chat(**more):
    return "POST", "/v1/chat/completions", {"messages": HELLO, **SHORT, **more}


def native(**more):
    return "POST", "/completion", {"prompt": "One two", "n_predict": 6, "temperature": 0, "seed": 1, **more}


def completions(**more):
    return "POST", "/v1/completions", {"prompt": "One two", **SHORT, **more}


CASES = {
    "chat": chat(),
    "chat stream": chat(stream=True),
    "chat stream usage": chat(stream=True, stream_options={"include_usage": True}),
    "chat logprobs": chat(logprobs=True, top_logprobs=2),
    "chat logprobs stream": chat(logprobs=True, top_logprobs=2, stream=True),
    "chat tool": chat(tools=[TOOL], tool_choice="required", max_tokens=60),
    "chat tool stream": chat(tools=[TOOL], tool_choice="required", max_tokens=60, stream=True),
    "chat json": chat(response_format={"type": "json_object"}, max_tokens=30),
    "completions": completions(),
    "completions stream": completions(stream=True),
    "completions stream usage": completions(stream=True, stream_options={"include_usage": True}),
    "completions logprobs": completions(logprobs=2),
    "completion": native(),
    "completion stream": native(stream=True),
    "completion stop": native(stop=[" "]),
    "completion n_probs": native(n_probs=2),
    "completion n_probs stream": native(n_probs=2, stream=True),
    "completion return_tokens": native(return_tokens=True),
    "completion ids": native(prompt=[28, 30, "two"]),
    "completion several": native(prompt=["One two", "Three four"]),
    "completion timings_per_token": native(stream=True, timings_per_token=True),
    "completion return_progress": native(stream=True, return_progress=True, prompt="A b c d"),
    "completion response_fields": native(response_fields=["content", "generation_settings/n_predict"]),
    "tokenize": ("POST", "/tokenize", {"content": "Hello world"}),
    "tokenize pieces": ("POST", "/tokenize", {"content": "Hällo", "with_pieces": True}),
    "tokenize nothing": ("POST", "/tokenize", {}),
    "detokenize": ("POST", "/detokenize", {"tokens": [28, 30]}),
    "apply-template": ("POST", "/apply-template", {"messages": HELLO}),
    "infill": ("POST", "/infill", {"input_prefix": "def f(", "input_suffix": "return", "n_predict": 6}),
    "infill stream": ("POST", "/infill", {"input_prefix": "def f(", "input_suffix": "return", "n_predict": 6, "stream": True}),
    "props": ("GET", "/props", None),
    "slots": ("GET", "/slots", None),
    "health": ("GET", "/health", None),
    "models": ("GET", "/v1/models", None),
    "error: no messages": ("POST", "/v1/chat/completions", {}),
    "error: role": ("POST", "/v1/chat/completions", {"messages": [{"content": "x"}]}),
    "error: no prompt": ("POST", "/completion", {}),
    "error: type": native(n_predict="x"),
    "error: grammar": native(grammar="root ::= ("),
    "error: schema": chat(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}),
    "error: too long": native(prompt="word " * 9000),
    "error: too long chat": chat(messages=[{"role": "user", "content": "word " * 9000}]),
    "error: no JSON": ("POST", "/completion", b"{"),
    "error: route": ("GET", "/none", None),
    "error: embeddings": ("POST", "/v1/embeddings", {"input": "a"}),
}

# Differences that are meant: (case, path of the member, what is different, why). The first three are patterns.
ALLOWED = [
    # Members of ours beside llama-server's.
    ("*", "*.metrics", "ours", "what speculation did, by vLLM's names"),
    ("*", "*.timings.draft_n*", "ours", "llama-server has them too where it drafts"),
    ("*", "*.completion_tokens_details", "ours", "OpenAI's member"),
    ("*", "*.message.refusal", "ours", "OpenAI's member, which llm-comply asks for"),
    ("*", "*.choices[[]].logprobs", "ours", "OpenAI's member, null where nothing was asked for"),
    ("*", "*.logprobs.refusal", "ours", "OpenAI's member"),
    ("completions logprobs", "*.logprobs.*", "ours", "OpenAI's older form, which lm-evaluation-harness reads"),
    ("*stream usage", "*.usage", "ours", "OpenAI: null in all events but the last"),
    ("completions stream usage", "last.usage*", "*", "OpenAI: null in all events but the last"),
    ("completions stream usage", "usage", "ours", "OpenAI: an event of its own for the usage"),
    ("chat stream usage", "last.timings", "ours", "for clients that do not ask for the usage"),
    ("models", ".data[[]].aliases[[]]", "missing", "this model has no other names"),
    ("error: *", ".error.param", "ours", "OpenAI's member"),
    ("props", ".s3d", "ours", "the drafter and the adapter"),
    ("props", ".default_generation_settings.*", "ours", "older versions of llama-server have them"),
    ("models", ".data[[]].*", "ours", "vLLM's length, and whether the model is loaded"),
    ("slots", "[[]].model", "ours", "there may be several models"),
    ("slots", "[[]].n_decoded", "ours", "older versions of llama-server have it"),
    ("chat tool*", "*.tool_calls*", "ours", "a small model need not write the same call"),
    # Types.
    ("chat*stream*", "first.choices[[]].delta.content", "null is text", "OpenAI: an empty text; some clients fail on null"),
    ("chat tool", ".choices[[]].message.content", "text is null", "OpenAI: null beside calls"),
    ("chat tool stream", "next.choices[[]].delta.content", "missing", "nothing is said beside calls"),
    ("error: *", ".error.code", "number is text", "OpenAI's codes are words, and clients branch on them"),
    ("error: role", "status", "500 is 400", "the request is wrong, not the server"),
    # Members of llama-server's that have no meaning here.
    ("completion timings_per_token", "*.timings", "missing", "the numbers of an answer come with its end"),
    ("completion timings_per_token", "*.timings.*", "missing", "the numbers of an answer come with its end"),
    ("completion return_progress", "*.prompt_progress*", "missing", "the progress of a prompt is not told"),
    ("props", ".media_marker", "missing", "there are no media"),
    ("slots", "[[]].params*", "missing", "the settings of somebody else's request"),
    ("slots", "[[]].n_prompt_tokens_*", "missing", "known when the answer has ended"),
    ("models", ".models*", "missing", "Ollama's list is at /api/tags"),
    ("models", ".data[[]].meta.vocab_type", "missing", "a number of llama.cpp's own"),
]


class Server:
    def __init__(self, command, port):
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise SystemExit(f"{command[0]} ended")
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=10):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise SystemExit(f"{command[0]} did not become ready")

    def ask(self, method, path, body):
        """(status, the answer or the list of its events)"""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as response:
                return response.status, parse(response.headers.get_content_type(), response.read())
        except urllib.error.HTTPError as error:
            return error.code, parse(error.headers.get_content_type(), error.read())

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def parse(kind, data):
    if kind != "text/event-stream":
        return json.loads(data)
    events = [line[len(b"data: "):] for line in data.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(event) if event != b"[DONE]" else "[DONE]" for event in events]


def type_of(value):
    names = {bool: "truth", int: "number", float: "number", str: "text", type(None): "null", list: "list", dict: "object"}
    return names[type(value)]


def shape(value, path, found):
    """All paths of a value with their types. Members of lists are all at one path."""
    found.setdefault(path, set()).add(type_of(value))
    if isinstance(value, dict):
        for name, member in value.items():
            shape(member, f"{path}.{name}", found)
    elif isinstance(value, list):
        for member in value:
            shape(member, path + "[]", found)
    return found


def whole_shape(answer, streamed):
    """Of a stream: the first event, those between, and the last ones apart."""
    if not streamed:
        return shape(answer, "", {})
    found = {}
    done = bool(answer) and answer[-1] == "[DONE]"
    found["stream.done"] = {str(done)}
    events = answer[:-1] if done else answer
    for i, event in enumerate(events):
        choices = event.get("choices", []) if isinstance(event, dict) else []
        ended = event.get("stop") is True or any(choice.get("finish_reason") for choice in choices)
        place = "usage" if "choices" in event and not choices else "last" if ended else "first" if i == 0 else "next"
        shape(event, place, found)
    return found


def differences(case, ours, theirs):
    """(path, what, description) for each."""
    status, answer = ours
    their_status, their_answer = theirs
    if status != their_status:
        yield "status", f"{their_status} is {status}"
    streamed = isinstance(answer, list) and isinstance(their_answer, list) and "stream" in case or "return_progress" in case
    mine, other = whole_shape(answer, streamed), whole_shape(their_answer, streamed)
    for path in sorted(mine.keys() | other.keys()):
        parent = path.rpartition(".")[0]
        if path not in mine:
            if not parent or parent in mine or parent not in other:
                yield path, "missing"
        elif path not in other:
            if not parent or parent in other or parent not in mine:
                yield path, "ours"
        elif mine[path] != other[path]:
            yield path, "/".join(sorted(other[path])) + " is " + "/".join(sorted(mine[path]))


def reason(case, path, what):
    for cases, paths, kinds, why in ALLOWED:
        if fnmatch.fnmatchcase(case, cases) and fnmatch.fnmatchcase(path, paths) and fnmatch.fnmatchcase(what, kinds):
            return why
    return None


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("s3d")
    parser.add_argument("model")
    parser.add_argument("--peer", default=f"{ROOT}/bench/peers/llama-server {{model}} {{port}} 2 2 2048")
    parser.add_argument("--show", action="store_true", help="print the allowed differences too")
    parser.add_argument("--answers", help="write both servers' answers into this file, as JSON")
    options = parser.parse_args()
    if not list(Path.home().glob(".cache/s3d/peers/xllamacpp-*/bin/python")) and "bench/peers" in options.peer:
        print("no llama-server here; run bench/peers/run --setup")
        return 77
    ports = free_port(), free_port()
    peer = Server(shlex.split(options.peer.format(model=options.model, port=ports[1])), ports[1])
    try:
        ours = Server([options.s3d, "serve", "-m", options.model, "--port", str(ports[0]), "-c", "2048", "--log-disable"],
                      ports[0])
        try:
            return compare(ours, peer, options)
        finally:
            ours.stop()
    finally:
        peer.stop()


def compare(ours, peer, options):
    unknown = known = 0
    answers = {}
    for case, request in CASES.items():
        mine, other = ours.ask(*request), peer.ask(*request)
        answers[case] = {"s3d": mine, "llama-server": other}
        for path, what in differences(case, mine, other):
            why = reason(case, path, what)
            known += why is not None
            unknown += why is None
            if why is None or options.show:
                print(f"{case}: {path or '(all)'}: {what}" + (f" (allowed: {why})" if why else ""))
    if options.answers:
        Path(options.answers).write_text(json.dumps(answers, indent=1))
    print(f"{len(CASES)} requests, {known} allowed differences, {unknown} others")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
