#!/usr/bin/env python3
"""What clients of llama-server rely on, after the cases of its own test suite: llama_server_test.py PROGRAM

Exit code 77 (skipped) where the model is not there."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from running_server import RunningServer, model_path  # noqa: E402

PROGRAM = sys.argv[1]
SERVER = None
STORY = "I believe the meaning of life is"


def post(path, body, status=200, headers=None):
    found, _, data = SERVER.request("POST", path, body, headers)
    if found != status:
        raise AssertionError(f"{path}: {found} {data.decode(errors='replace')}")
    return json.loads(data)


def events(path, body):
    """All events of a stream, and whether [DONE] came."""
    stream = SERVER.stream(path, body)
    return list(stream), stream.ended


def tiny(name):
    return Path(__file__).parents[1] / "data" / "models" / f"{name}.gguf"


class Completion(unittest.TestCase):
    def test_whole(self):
        for return_tokens in (False, True):
            answer = post("/completion", {"n_predict": 8, "prompt": STORY, "return_tokens": return_tokens, "temperature": 0})
            self.assertEqual(answer["timings"]["prompt_n"] + answer["timings"]["cache_n"], 7)
            self.assertEqual(answer["timings"]["predicted_n"], 8)
            self.assertIs(answer["truncated"], False)
            self.assertIsInstance(answer["has_new_line"], bool)
            self.assertEqual(len(answer["tokens"]), 8 if return_tokens else 0)
            self.assertTrue(all(isinstance(token, int) for token in answer["tokens"]))

    def test_a_stream_says_the_same(self):
        body = {"n_predict": 8, "prompt": STORY, "seed": 42, "temperature": 0.8}
        parts, done = events("/completion", body)
        self.assertFalse(done)
        self.assertTrue(all(isinstance(part["stop"], bool) for part in parts))
        self.assertEqual("".join(part["content"] for part in parts), post("/completion", body)["content"])
        last = parts[-1]
        self.assertEqual(last["stop_type"], "limit")
        self.assertEqual(last["generation_settings"]["n_predict"], 8)
        self.assertEqual(last["generation_settings"]["seed"], 42)
        self.assertEqual(last["timings"]["predicted_n"], 8)

    def test_seeds(self):
        texts = {seed: {post("/completion", {"prompt": STORY, "n_predict": 12, "seed": seed, "temperature": 1.0})["content"]
                        for _ in range(3)} for seed in (42, 43)}
        self.assertEqual([len(each) for each in texts.values()], [1, 1])
        self.assertNotEqual(texts[42], texts[43])

    def test_the_cache_changes_nothing(self):
        body = {"prompt": STORY, "n_predict": 8, "seed": 42, "temperature": 1.0}
        with_cache = post("/completion", {**body, "cache_prompt": True})
        without = post("/completion", {**body, "cache_prompt": False})
        self.assertEqual(with_cache["content"], without["content"])
        self.assertEqual(without["timings"]["cache_n"], 0)

    def test_prompts_of_ids(self):
        ids = post("/tokenize", {"content": STORY, "add_special": True})["tokens"]
        text = post("/completion", {"prompt": STORY, "temperature": 0, "n_predict": 6})["content"]
        self.assertEqual(post("/completion", {"prompt": ids, "temperature": 0, "n_predict": 6})["content"], text)
        for prompts in ([ids, ids], [ids, STORY], [ids, [1, 2, *ids[:2], "x"]]):
            answers = post("/completion", {"prompt": prompts, "temperature": 0, "n_predict": 6})
            self.assertEqual(len(answers), 2)
            self.assertEqual(answers[0]["content"], text)
        mixed = post("/completion", {"prompt": [1, 2, 3, 4, STORY], "n_predict": 2})
        self.assertIsInstance(mixed["content"], str)
        self.assertTrue(post("/completion", {"prompt": {"prompt_string": STORY}, "n_predict": 2})["content"])
        post("/completion", {"prompt": {"prompt_string": STORY, "multimodal_data": ["aGVsbG8="]}, "n_predict": 2}, status=400)

    def test_response_fields(self):
        fields = ["content", "generation_settings/n_predict", "prompt"]
        answer = post("/completion", {"prompt": STORY, "n_predict": 3, "response_fields": fields})
        self.assertEqual(list(answer), fields)
        self.assertEqual(answer["generation_settings/n_predict"], 3)
        self.assertIn("generation_settings", post("/completion", {"prompt": STORY, "n_predict": 3, "response_fields": []}))

    def test_probabilities(self):
        body = {"prompt": STORY, "n_probs": 10, "temperature": 0, "n_predict": 5}
        whole = post("/completion", body)["completion_probabilities"]
        parts, _ = events("/completion", body)
        streamed = [one for part in parts for one in part.get("completion_probabilities", [])]
        self.assertEqual(len(whole), 5)
        self.assertEqual(whole, streamed)
        for token in whole:
            self.assertEqual(len(token["top_logprobs"]), 10)
            for one in (token, *token["top_logprobs"]):
                self.assertLessEqual(one["logprob"], 0)
                self.assertEqual({type(one["id"]), type(one["token"]), type(one["bytes"])}, {int, str, list})

    def test_grammars_and_schemas(self):
        self.assertRegex(post("/completion", {"prompt": "x", "grammar": 'root ::= "a" [0-9]{3}', "n_predict": 9})["content"],
                         "^a[0-9]{3}$")
        schema = {"const": "42"}
        self.assertEqual(post("/completion", {"prompt": "x", "json_schema": schema, "n_predict": 9})["content"], '"42"')
        self.assertIn("error", post("/completion", {"prompt": "x", "grammar": "root ::= ("}, status=400))

    def test_what_is_too_long(self):
        error = post("/completion", {"prompt": "word " * 3000}, status=400)["error"]
        self.assertEqual((error["type"], error["code"], error["n_ctx"]), ("exceed_context_size_error", 400, 2048))
        self.assertGreater(error["n_prompt_tokens"], 2048)
        found, _, data = SERVER.request("POST", "/completion", {"prompt": "word " * 3000, "stream": True})
        self.assertEqual((found, json.loads(data)["error"]["type"]), (400, "exceed_context_size_error"))

    def test_rates_leave_the_first_token_out(self):
        one = post("/completion", {"prompt": STORY, "n_predict": 1})["timings"]
        self.assertEqual((one["predicted_n"], one["predicted_per_second"], one["predicted_per_token_ms"]), (1, 0, 0))
        for n in (1, 16):
            timings = post("/completion", {"prompt": STORY, "n_predict": n, "cache_prompt": False})["timings"]
            self.assertTrue(all(value >= 0 for value in timings.values()))
            self.assertGreater(timings["prompt_ms"], 0)


class Chat(unittest.TestCase):
    MESSAGES = [{"role": "system", "content": "Book"}, {"role": "user", "content": "What is the best book"}]

    def ask(self, **more):
        return post("/v1/chat/completions", {"messages": self.MESSAGES, "max_tokens": 8, "temperature": 0, **more})

    def test_whole(self):
        answer = self.ask()
        self.assertTrue(answer["id"].startswith("chatcmpl-"))
        choice = answer["choices"][0]
        self.assertEqual((choice["message"]["role"], choice["finish_reason"]), ("assistant", "length"))
        self.assertEqual(answer["usage"]["completion_tokens"], 8)
        again = self.ask()
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(again["choices"][0]["message"], choice["message"])

    def test_stream(self):
        parts, done = events("/v1/chat/completions", {"messages": self.MESSAGES, "max_tokens": 8, "temperature": 0,
                                                      "stream_options": {"include_usage": True}})
        self.assertTrue(done)
        self.assertEqual({part["id"] for part in parts}, {parts[0]["id"]})
        self.assertEqual(parts[0]["choices"][0]["delta"]["role"], "assistant")
        self.assertTrue(all("role" not in part["choices"][0]["delta"] for part in parts[1:-1]))
        self.assertEqual(parts[-2]["choices"][0]["delta"], {})
        self.assertEqual(parts[-2]["choices"][0]["finish_reason"], "length")
        self.assertEqual((parts[-1]["choices"], parts[-1]["usage"]["completion_tokens"]), ([], 8))
        text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts[:-1])
        self.assertEqual(text, self.ask()["choices"][0]["message"]["content"])

    def test_forms(self):
        for form in ({"type": "json_object", "schema": {"const": "42"}},
                     {"type": "json_schema", "json_schema": {"schema": {"const": "42"}}}):
            self.assertEqual(self.ask(response_format=form)["choices"][0]["message"]["content"], '"42"')
        for form in ({"type": "sound"}, {"type": "json_object", "schema": 123}, {"type": "json_object", "schema": {"type": 123}},
                     {"type": "json_object", "schema": {"type": "hiccup"}}):
            body = {"messages": self.MESSAGES, "max_tokens": 8, "response_format": form}
            self.assertIn("error", post("/v1/chat/completions", body, status=400))
        self.assertEqual(self.ask(grammar='root ::= "a"{5}')["choices"][0]["message"]["content"], "aaaaa")

    def test_bad_messages(self):
        for messages in (None, "string", [123], [{}], [{"role": 123}], [{"role": "system", "content": 123}],
                         [{"role": "user", "content": [{"type": "text", "text": 1}]}]):
            self.assertIn("error", post("/v1/chat/completions", {"messages": messages}, status=400))

    def test_logprobs(self):
        answer = self.ask(logprobs=True, top_logprobs=10)["choices"][0]
        content = answer["logprobs"]["content"]
        self.assertEqual("".join(token["token"] for token in content), answer["message"]["content"])
        for token in content:
            self.assertLessEqual(token["logprob"], 0)
            self.assertEqual(len(token["top_logprobs"]), 10)

    def test_logit_bias(self):
        usual = self.ask()["choices"][0]["message"]["content"]
        ids = post("/tokenize", {"content": usual})["tokens"]
        other = self.ask(logit_bias=[[token, -100] for token in ids])["choices"][0]["message"]["content"]
        self.assertFalse(set(ids) & set(post("/tokenize", {"content": other})["tokens"]))

    def test_several_choices(self):
        answer = self.ask(n=2, temperature=1.0)
        self.assertEqual([choice["index"] for choice in answer["choices"]], [0, 1])

    def test_a_template_is_applied(self):
        prompt = post("/apply-template", {"messages": self.MESSAGES})["prompt"]
        self.assertIn("Book", prompt)
        self.assertTrue(prompt.endswith("assistant\n"))
        prefilled = post("/apply-template", {"messages": [*self.MESSAGES, {"role": "assistant", "content": "Whill"}]})["prompt"]
        self.assertTrue(prefilled.endswith("Whill"))


class Others(unittest.TestCase):
    def test_tokens(self):
        ids = post("/tokenize", {"content": STORY})["tokens"]
        self.assertEqual(post("/detokenize", {"tokens": ids})["content"], STORY)
        for piece in post("/tokenize", {"content": "Hällo 語", "with_pieces": True})["tokens"]:
            self.assertTrue(isinstance(piece["id"], int) and piece["piece"])

    def test_props_slots_and_models(self):
        props = SERVER.json("GET", "/props")
        self.assertIn(".gguf", props["model_path"])
        self.assertEqual(props["total_slots"], 8)
        self.assertEqual(props["default_generation_settings"]["n_ctx"], 2048)
        slots = SERVER.json("GET", "/slots")
        self.assertEqual((len(slots), slots[0]["n_ctx"]), (8, 2048))
        self.assertEqual({slot["is_processing"] for slot in slots}, {False})
        self.assertEqual(len(SERVER.json("GET", "/models")["data"]), 1)
        self.assertEqual(SERVER.json("GET", "/health"), {"status": "ok"})

    def test_infill_refuses_bad_files(self):
        for extra in ({}, {"filename": 123}, 123, {"filename": 123, "text": "abc"}, {"filename": "ok", "text": 123}):
            body = {"input_extra": [extra], "input_prefix": "a", "input_suffix": "b"}
            self.assertIn("error", post("/infill", body, status=400))

    def test_metrics(self):
        answer = post("/completion", {"prompt": STORY, "n_predict": 5})
        self.assertEqual(answer["tokens_predicted"], 5)
        text = SERVER.request("GET", "/metrics")[2].decode()
        samples = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("llamacpp:")}
        for name in samples:
            self.assertIn(f"# HELP {name} ", text)
            self.assertIn(f"# TYPE {name} ", text)
        for name in ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total", "n_decode_total",
                     "prompt_tokens_seconds", "predicted_tokens_seconds", "requests_processing", "requests_deferred"):
            self.assertIn("llamacpp:" + name, samples)
        self.assertEqual(samples["llamacpp:requests_processing"], 0)
        self.assertGreater(samples["llamacpp:n_decode_total"], 0)

    def test_scores_of_a_prompt(self):
        """As lm-evaluation-harness asks: the sum of a continuation's scores, and whether it is what greedy gives."""
        ids = post("/tokenize", {"content": STORY, "add_special": True})["tokens"]
        greedy = post("/completion", {"prompt": ids, "n_predict": 4, "temperature": 0, "return_tokens": True})["tokens"]
        body = {"prompt": [[*ids, *greedy]], "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1234}
        logprobs = post("/v1/completions", body)["choices"][0]["logprobs"]
        scores, tops = logprobs["token_logprobs"], logprobs["top_logprobs"]
        self.assertEqual((len(scores), scores[0], tops[0]), (len(ids) + 5, None, None))
        for score, top in list(zip(scores, tops))[len(ids):]:
            self.assertEqual(score, max(top.values()))
        alone = post("/v1/completions", {**body, "max_tokens": 0})["choices"][0]
        self.assertEqual(alone["logprobs"]["token_logprobs"], scores[:-1])
        self.assertEqual(alone["text"], post("/detokenize", {"tokens": [*ids, *greedy]})["content"])

    def test_regular_expressions_and_choices(self):
        body = {"prompt": "The date is ", "max_tokens": 20}
        text = post("/v1/completions", {**body, "structured_outputs": {"regex": r"\d{4}-\d\d-\d\d"}})["choices"][0]["text"]
        self.assertRegex(text, r"^\d{4}-\d\d-\d\d$")
        text = post("/v1/completions", {**body, "guided_choice": ["today", "tomorrow"]})["choices"][0]["text"]
        self.assertIn(text, ("today", "tomorrow"))


class Access(unittest.TestCase):
    def test_keys(self):
        with RunningServer(PROGRAM, "--api-key", "secret", "-t", "1", "--no-slots", "--no-metrics",
                           model=tiny("llama-f32")) as server:
            for path in ("/health", "/v1/health"):
                self.assertEqual(server.request("GET", path)[0], 200)
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                status, _, data = server.request("POST", "/completion", {"prompt": "a", "n_predict": 1}, headers)
                self.assertEqual((status, json.loads(data)["error"]["type"]), (401, "authentication_error"))
            for headers in ({"Authorization": "Bearer secret"}, {"X-Api-Key": "secret"}):
                status, _, data = server.request("POST", "/completion", {"prompt": "a", "n_predict": 1}, headers)
                self.assertEqual((status, "content" in json.loads(data)), (200, True))
                self.assertEqual(server.request("GET", "/slots", headers=headers)[0], 501)
                self.assertEqual(server.request("GET", "/metrics", headers=headers)[0], 501)


if __name__ == "__main__":
    if model_path() is None:
        print("no model smollm2-135m: skipped (scripts/fetch-model smollm2-135m)")
        sys.exit(77)
    with RunningServer(PROGRAM, "-c", "2048", "-t", "2", "--log-disable") as SERVER:
        unittest.main(argv=sys.argv[:1])
