#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serve/fake_model.h"

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Json kHello = {{"role", "user"}, {"content", "Hi"}};

// A chat request with some more members.
Json chat(const Json& more = Json::object(), Json messages = Json::array({kHello})) {
  Json body = {{"model", "fake"}, {"messages", std::move(messages)}};
  body.update(more);
  return body;
}

// A request that the route takes; the routes refuse some of each other's fields.
Json body_for(std::string_view path, const Json& more = Json::object()) {
  Json body = chat(more);
  body[path == "/v1/responses" ? "input" : "prompt"] = "a";
  return body;
}

constexpr const char* kChat = "/v1/chat/completions";

TEST(ChatCompletions, AnswersAsAWhole) {
  FakeServer server;
  const Reply reply = server.post(kChat, chat());
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.value_or("Content-Type", ""), "application/json; charset=utf-8");
  Json json = reply.json();
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_GT(json["created"].get<int64_t>(), 1'700'000'000);
  json.erase("id");
  json.erase("created");
  json.erase("timings");
  json.erase("metrics");
  EXPECT_EQ(json, Json::parse(R"({"object": "chat.completion", "model": "fake", "system_fingerprint": "fp-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!", "refusal": null},
                 "logprobs": null, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 18, "completion_tokens": 3, "total_tokens": 21,
              "prompt_tokens_details": {"cached_tokens": 1},
              "completion_tokens_details": {"reasoning_tokens": 0, "accepted_prediction_tokens": 0,
                                            "rejected_prediction_tokens": 0}}})"));
  EXPECT_EQ(server.model().prompt_text(), "user:Hi|assistant:");
}

TEST(ChatCompletions, TellsTimesAndSpeculation) {
  FakeServer server;
  const Json json = server.post(kChat, chat()).json();
  EXPECT_EQ(json["timings"]["cache_n"], 1);
  EXPECT_EQ(json["timings"]["prompt_n"], 17);
  EXPECT_EQ(json["timings"]["prompt_ms"], 500);
  EXPECT_EQ(json["timings"]["predicted_n"], 3);
  EXPECT_EQ(json["timings"]["predicted_ms"], 250);
  EXPECT_EQ(json["timings"]["draft_n"], 6);
  EXPECT_EQ(json["timings"]["draft_n_accepted"], 3);
  const Json& spec = json["metrics"]["speculative_decoding"];
  EXPECT_EQ(spec["num_draft_tokens"], 6);
  EXPECT_EQ(spec["num_accepted_draft_tokens"], 3);
  EXPECT_EQ(spec["draft_acceptance_rate"], 0.5);
  EXPECT_EQ(spec["mean_acceptance_length"], 2.5);
}

TEST(ChatCompletions, Streams) {
  FakeServer server;
  const Reply reply = server.post(kChat, chat({{"stream", true}}));
  EXPECT_TRUE(reply.streamed);
  EXPECT_EQ(reply.headers.value_or("Content-Type", ""), "text/event-stream; charset=utf-8");
  EXPECT_EQ(reply.headers.value_or("X-Accel-Buffering", ""), "no");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  EXPECT_THAT(reply.body, testing::Not(HasSubstr("event:")));
  const std::vector<Json> events = reply.events();
  ASSERT_EQ(events.size(), 5U);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  std::string text;
  for (int i = 1; i < 4; ++i) text += events[usize(i)]["choices"][0]["delta"]["content"].get<std::string>();
  EXPECT_EQ(text, "Hello!");
  EXPECT_EQ(events[4]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(events[4]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[4]["timings"]["predicted_n"], 3);
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    EXPECT_EQ(event["id"], events[0]["id"]);
    EXPECT_FALSE(event.contains("usage"));
  }
}

TEST(ChatCompletions, StreamsUsageWhereAsked) {
  FakeServer server;
  const std::vector<Json> events =
      server.post(kChat, chat({{"stream", true}, {"stream_options", {{"include_usage", true}}}})).events();
  ASSERT_EQ(events.size(), 6U);
  EXPECT_TRUE(events[2]["usage"].is_null());
  EXPECT_EQ(events[5]["choices"], Json::array());
  EXPECT_EQ(events[5]["usage"]["completion_tokens"], 3);
  const std::vector<Json> all =
      server.post(kChat, chat({{"stream", true}, {"stream_options", {{"continuous_usage_stats", true}}}})).events();
  EXPECT_EQ(all[2]["usage"]["prompt_tokens"], 18);
  EXPECT_EQ(all[2]["usage"]["completion_tokens"], 2);
}

TEST(ChatCompletions, GivesSeveralAnswers) {
  FakeServer server;
  const Json json = server.post(kChat, chat({{"n", 2}, {"seed", 7}})).json();
  ASSERT_EQ(json["choices"].size(), 2U);
  EXPECT_EQ(json["choices"][1]["index"], 1);
  EXPECT_EQ(json["usage"]["prompt_tokens"], 18);  // once
  EXPECT_EQ(json["usage"]["completion_tokens"], 6);
  ASSERT_EQ(server.model().taken.size(), 2U);
  EXPECT_EQ(server.model().taken[1].stream, 1U);
  EXPECT_EQ(server.model().taken[1].sampler.seed, 7U);
  EXPECT_EQ(server.model().taken[0].prompt, server.model().taken[1].prompt);
}

TEST(ChatCompletions, GivesLogprobs) {
  FakeServer server;
  const Json json = server.post(kChat, chat({{"logprobs", true}, {"top_logprobs", 2}})).json();
  const Json& content = json["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 3U);
  EXPECT_EQ(content[0], Json::parse(R"({"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "id": 300,
      "top_logprobs": [{"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "id": 300},
                       {"token": "lo", "logprob": -1.5, "bytes": [108, 111], "id": 301}]})"));
  EXPECT_EQ(server.model().taken[0].top_logprobs, 2);
  const auto events = server.post(kChat, chat({{"logprobs", true}, {"stream", true}})).events();
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["content"][0]["token"], "Hel");
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["content"][0]["top_logprobs"], Json::array());
}

TEST(ChatCompletions, TellsWhereTokensCameFrom) {
  FakeServer server;
  const auto events = server.post(kChat, chat({{"s3d", {{"tokens", true}}}, {"stream", true}})).events();
  EXPECT_EQ(events[1]["s3d"]["tokens"][0],
            Json({{"id", 300}, {"text", "Hel"}, {"drafted", false}, {"source", "target"}}));
  EXPECT_EQ(
      events[2]["s3d"]["tokens"][0],
      Json(
          {{"id", 301}, {"text", "lo"}, {"drafted", true}, {"source", "suffix"}, {"depth", 1}, {"probability", 0.75}}));
}

TEST(ChatCompletions, PassesSettingsOn) {
  FakeServer server;
  const Json more = Json::parse(R"({"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "repeat_penalty": 1.1,
    "repeat_last_n": 32, "presence_penalty": 0.2, "frequency_penalty": 0.3, "seed": 42, "logit_bias": {"5": -100, "!": 2},
    "stop": ["a", "b"], "max_tokens": 9, "max_completion_tokens": 2, "ignore_eos": true, "cache_prompt": false,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "xy"}]}, "s3d": {"drafter": "off"}})");
  const Json json = server.post(kChat, chat(more)).json();
  EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
  const Job& job = server.model().taken.at(0);
  EXPECT_FLOAT_EQ(job.sampler.temperature, 0.5F);
  EXPECT_FLOAT_EQ(job.sampler.top_p, 0.9F);
  EXPECT_EQ(job.sampler.top_k, 40);
  EXPECT_FLOAT_EQ(job.sampler.min_p, 0.1F);
  EXPECT_FLOAT_EQ(job.sampler.repetition_penalty, 1.1F);
  EXPECT_EQ(job.sampler.penalty_last_n, 32);
  EXPECT_FLOAT_EQ(job.sampler.presence_penalty, 0.2F);
  EXPECT_FLOAT_EQ(job.sampler.frequency_penalty, 0.3F);
  EXPECT_EQ(job.sampler.seed, 42U);
  EXPECT_EQ(job.sampler.logit_bias, (std::vector<std::pair<TokenId, float>>{{5, -100.0F}, {'!', 2.0F}}));
  EXPECT_THAT(job.stops, ElementsAre("a", "b"));
  EXPECT_EQ(job.max_tokens, 2);  // the newer name wins
  EXPECT_TRUE(job.ignore_end);
  EXPECT_FALSE(job.use_cache);
  EXPECT_THAT(job.prediction, ElementsAre('x', 'y'));
  EXPECT_EQ(job.drafter, "off");
}

TEST(ChatCompletions, DrawsASeedWhereNoneIsNamed) {
  FakeServer server;
  server.post(kChat, chat());
  server.post(kChat, chat({{"seed", -1}}));
  EXPECT_NE(server.model().taken[0].sampler.seed, server.model().taken[1].sampler.seed);
}

TEST(ChatCompletions, TakesTheServersSettingsWhereNoneAreNamed) {
  FakeServer server;
  server.model().card().seed = 5;
  server.model().card().max_tokens = 2;
  server.model().card().sampler.temperature = 0.5F;
  for (const char* path : {kChat, "/v1/completions", "/v1/responses", "/completion", "/api/chat", "/api/generate"}) {
    server.model().taken.clear();
    server.post(path, body_for(path));
    ASSERT_EQ(server.model().taken.size(), 1U) << path;
    EXPECT_EQ(server.model().taken.back().max_tokens, 2) << path;
    EXPECT_EQ(server.model().taken.back().sampler.seed, 5U) << path;
    EXPECT_EQ(server.model().taken.back().sampler.temperature, 0.5F) << path;
  }
  server.post(kChat, chat({{"max_tokens", 3}, {"seed", 6}, {"temperature", 0}}));
  EXPECT_EQ(server.model().taken.back().max_tokens, 3);
  EXPECT_EQ(server.model().taken.back().sampler.seed, 6U);
  EXPECT_EQ(server.model().taken.back().sampler.temperature, 0);
  server.post(kChat, chat({{"seed", -1}}));
  EXPECT_NE(server.model().taken.back().sampler.seed, 5U);
}

TEST(ChatCompletions, ReadsMessages) {
  FakeServer server;
  const Json messages = Json::parse(R"([{"role": "developer", "content": "Be short"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null}, {"role": "user", "content": "c"}])");
  EXPECT_EQ(server.post(kChat, chat(Json::object(), messages)).status, 200);
  EXPECT_EQ(server.model().prompt_text(), "system:Be short|user:ab|assistant:|user:c|assistant:");
}

TEST(ChatCompletions, ContinuesTheAssistantsOwnMessage) {
  FakeServer server;
  server.post(kChat, chat(Json::object(), Json::array({kHello, {{"role", "assistant"}, {"content", "Well,"}}})));
  EXPECT_EQ(server.model().prompt_text(), "user:Hi|assistant:Well,");
}

TEST(ChatCompletions, PassesVariablesToTheTemplate) {
  FakeServer server;
  server.post(kChat, chat({{"chat_template_kwargs", {{"enable_thinking", false}}}, {"reasoning_effort", "low"}}));
  EXPECT_THAT(server.model().last_chat.variables, ElementsAre("reasoning_effort=\"low\"", "enable_thinking=false"));
}

TEST(ChatCompletions, IgnoresWhatItDoesNotKnow) {
  FakeServer server;
  const Json more = {{"user", "u"},
                     {"metadata", {{"a", "b"}}},
                     {"store", true},
                     {"service_tier", "auto"},
                     {"verbosity", "low"},
                     {"what_is_this", 1},
                     {"n", nullptr},
                     {"prompt_cache_key", "k"},
                     {"safety_identifier", "s"}};
  EXPECT_EQ(server.post(kChat, chat(more)).status, 200);
}

struct Refusal {
  Json more;
  std::string expected;  // the beginning of "STATUS PARAM: MESSAGE"
};

TEST(ChatCompletions, RefusesByName) {
  const std::vector<Refusal> refusals = {
      {{{"messages", Json::array()}}, "400 messages: messages: expected a list of at least one message"},
      {{{"messages", nullptr}}, "400 messages: messages: expected a list of at least one message"},
      {{{"messages", "Hi"}}, "400 messages: messages: expected a list, got a text"},
      {{{"messages", {1}}}, "400 messages[0]: messages[0]: expected an object, got a number"},
      {{{"messages", {{{"role", "boss"}, {"content", ""}}}}},
       "400 messages[0].role: messages[0].role: expected system"},
      {{{"messages", {{{"content", ""}}}}}, "400 messages[0].role"},
      {{{"messages", {{{"role", "user"}}}}}, "400 messages[0].content: messages[0].content: expected a text"},
      {{{"messages", {{{"role", "user"}, {"content", 5}}}}}, "400 messages[0].content"},
      {{{"messages", {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}}},
       "400 messages[0].content[0]: messages[0].content[0]: parts of type \"image_url\" are not supported"},
      {{{"messages", {{{"role", "user"}, {"content", {{{"type", "input_audio"}}}}}}}}, "400 messages[0].content[0]"},
      {{{"messages", {{{"role", "user"}, {"content", {{{"type", "text"}}}}}}}}, "400 messages[0].content[0].text"},
      {{{"messages", {{{"role", "tool"}, {"content", "x"}}}}}, "400 messages: no tools here"},
      {{{"temperature", "hot"}}, "400 temperature: temperature: expected a number, got a text"},
      {{{"temperature", -1}}, "400 temperature: temperature: expected a number from 0 to 100, got -1"},
      {{{"top_p", 1.5}}, "400 top_p"},
      {{{"top_k", 2.5}}, "400 top_k"},
      {{{"min_p", -0.1}}, "400 min_p"},
      {{{"repeat_penalty", 0}}, "400 repeat_penalty"},
      {{{"presence_penalty", 1e9}}, "400 presence_penalty"},
      {{{"frequency_penalty", true}}, "400 frequency_penalty"},
      {{{"repeat_last_n", -2}}, "400 repeat_last_n"},
      {{{"seed", 1e30}}, "400 seed"},
      {{{"max_tokens", 0}}, "400 max_tokens: max_tokens: expected a whole number from 1 to 2147483647, got 0"},
      {{{"max_completion_tokens", -5}}, "400 max_completion_tokens"},
      {{{"n", 0}}, "400 n: n: expected a whole number from 1 to 16, got 0"},
      {{{"n", 17}}, "400 n"},
      {{{"stop", 3}}, "400 stop: stop: expected a text or a list of texts, got a number"},
      {{{"stop", {"a", 1}}}, "400 stop[1]"},
      {{{"stop", std::vector<std::string>(65, "x")}}, "400 stop: stop: at most 64 texts"},
      {{{"logit_bias", {{"5", "x"}}}}, "400 logit_bias"},
      {{{"logit_bias", {{"5000", 1}}}}, "400 logit_bias: logit_bias: \"5000\" is no token of this model"},
      {{{"logit_bias", {{1e30, 1}}}}, "400 logit_bias"},
      {{{"logit_bias", 4}}, "400 logit_bias"},
      {{{"top_logprobs", 2}}, "400 top_logprobs: top_logprobs: needs logprobs: true"},
      {{{"logprobs", true}, {"top_logprobs", 21}}, "400 top_logprobs"},
      {{{"logprobs", 1}}, "400 logprobs"},
      {{{"stream", "yes"}}, "400 stream"},
      {{{"stream_options", {{"include_usage", 1}}}}, "400 stream_options.include_usage"},
      {{{"ignore_eos", 1}}, "400 ignore_eos"},
      {{{"typical_p", 0.5}}, "400 typical_p: typical_p: this server does not have that sampler"},
      {{{"mirostat", 2}}, "400 mirostat"},
      {{{"dry_multiplier", 0.8}}, "400 dry_multiplier"},
      {{{"xtc_probability", 0.5}}, "400 xtc_probability"},
      {{{"functions", {{{"name", "f"}}}}}, "400 functions"},
      {{{"audio", {{"voice", "x"}}}}, "400 audio"},
      {{{"modalities", {"text", "audio"}}}, "400 modalities"},
      {{{"response_format", "json"}}, "400 response_format"},
      {{{"response_format", {{"type", "xml"}}}}, "400 response_format.type"},
      {{{"response_format", {{"type", "json_schema"}}}}, "400 response_format.schema"},
      {{{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "n"}}}}}},
       "400 response_format.json_schema.schema"},
      {{{"response_format", {{"type", "json_object"}}}}, "400 response_format: keyword 'not' is not supported"},
      {{{"grammar", "root ::= x"}}, "400 grammar: keyword 'not'"},
      {{{"grammar", "x"}, {"json_schema", Json::object()}}, "400 grammar"},
      {{{"prediction", "x"}}, "400 prediction"},
      {{{"chat_template_kwargs", 1}}, "400 chat_template_kwargs"},
      {{{"reasoning_effort", 1}}, "400 reasoning_effort"},
      {{{"s3d", {{"tokens", 1}}}}, "400 s3d.tokens"},
      {{{"model", 5}}, "400 model: model: expected a text, got a number"},
  };
  FakeServer server;
  for (const Refusal& refusal : refusals) {
    EXPECT_THAT(server.refusal(kChat, chat(refusal.more)), StartsWith(refusal.expected)) << refusal.more;
  }
  EXPECT_TRUE(server.model().taken.empty());
}

TEST(ChatCompletions, RefusesBodiesThatAreNoJson) {
  FakeServer server;
  const auto post = [&](const std::string& body) {
    const Reply reply = server.exchange("POST", kChat, body);
    return fmt::format("{} {}", reply.status, reply.json()["error"]["message"].get<std::string>());
  };
  EXPECT_THAT(post("{\"a\": "), StartsWith("400 the body: no JSON"));
  EXPECT_THAT(post("[]"), StartsWith("400 the body: expected a JSON object"));
  EXPECT_THAT(post("{\"a\": \"\xff\"}"), StartsWith("400 the body: the JSON is not valid UTF-8"));
  EXPECT_THAT(post("{\"seed\": 1e999}"), StartsWith("400 the body: the number"));
  EXPECT_THAT(post("{\"a\": " + std::string(100, '[') + std::string(100, ']') + "}"),
              StartsWith("400 the body: lists and objects nested more than 64 deep"));
  std::string keys = "{";
  for (int i = 0; i < 5000; ++i) keys += fmt::format("\"{}\": 0, ", i);
  EXPECT_THAT(post(keys + "\"a\": 0}"), StartsWith("400 the body: an object has more than 4096 keys"));
  EXPECT_THAT(post(""), StartsWith("400 messages"));
}

TEST(ChatCompletions, RefusesAPromptThatIsTooLong) {
  FakeServer server;
  const Reply reply =
      server.post(kChat, chat(Json::object(), {{{"role", "user"}, {"content", std::string(100, 'x')}}}));
  EXPECT_EQ(reply.status, 400);
  const Json error = reply.json()["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["n_prompt_tokens"], 116);
  EXPECT_EQ(error["n_ctx"], 64);
}

TEST(ChatCompletions, KnowsItsModels) {
  FakeServer server;
  Json body = chat();
  body["model"] = "gpt-x";
  EXPECT_EQ(server.post(kChat, body).json()["model"], "gpt-x");  // the only model answers to any name
  server.options.any_model = false;
  EXPECT_THAT(server.refusal(kChat, body), StartsWith("404 model: model 'gpt-x' not found"));
  EXPECT_EQ(server.post(kChat, body).json()["error"]["code"], "model_not_found");
  body["model"] = "other";
  EXPECT_EQ(server.post(kChat, body).status, 200);
}

TEST(ChatCompletions, SaysWhenItIsBusy) {
  FakeServer server;
  server.model().refuse = JobError{JobError::Kind::kOverloaded, "64 requests wait already"};
  const Reply reply = server.post(kChat, chat());
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.headers.value_or("Retry-After", ""), "2");
  EXPECT_EQ(reply.json()["error"]["type"], "unavailable_error");
}

TEST(ChatCompletions, SaysWhatBroke) {
  FakeServer server;
  server.model().break_with = JobError{JobError::Kind::kFailed, "a pass failed"};
  const Reply reply = server.post(kChat, chat({{"stream", true}}));  // nothing was sent: a plain error
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.headers.value_or("x-should-retry", ""), "false");
  EXPECT_FALSE(reply.streamed);
  server.model().break_after = 1;
  const Reply later = server.post(kChat, chat({{"stream", true}}));
  EXPECT_EQ(later.status, 200);
  EXPECT_EQ(later.events().back()["error"]["message"], "a pass failed");
  EXPECT_THAT(later.body, testing::Not(HasSubstr("[DONE]")));
}

TEST(ChatCompletions, SaysWhyAModelIsNotThere) {
  FakeServer server;
  server.models.cannot_open = "no memory";
  EXPECT_THAT(server.refusal(kChat, chat()), StartsWith("503 -: no memory"));
}

// A request whose answer does not come until the client leaves.
class Waiting {
 public:
  Waiting(const std::string& path, const Json& body) {
    server_.model().hold = true;
    server_.model().script = {};
    server_.options.ping_seconds = 0.01;
    app_.emplace(server_.models, server_.options);
    http::Request request;
    request.method = "POST";
    request.path = path;
    request.body = to_text(body);
    app_->handle(std::move(request), responder_);
    responder_->until([this](const std::string& /*text*/) { return server_.model().waiting() > 0; });
  }
  ~Waiting() {
    responder_->leave();
    server_.model().join();
  }
  FakeResponder& responder() { return *responder_; }

 private:
  FakeServer server_;
  std::optional<App> app_;
  std::shared_ptr<FakeResponder> responder_ = std::make_shared<FakeResponder>();
};

TEST(ChatCompletions, SaysThatAStreamIsStillThere) {
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/completion"}) {
    Waiting waiting(path, body_for(path, {{"stream", true}}));
    waiting.responder().until([](const std::string& text) {
      return text.starts_with(": ping\n\n: ping\n\n") || text.find("\n\n: ping\n\n: ping\n\n") != std::string::npos;
    });
  }
}

TEST(ChatCompletions, SaysNothingWhereCommentsAreUnknown) {
  Waiting lines("/api/chat", chat({{"stream", true}}));
  Waiting whole(kChat, chat({{"stream", false}}));
  Waiting events(kChat, chat({{"stream", true}}));
  events.responder().until([](const std::string& text) { return text.find(": ping\n\n: ping") != std::string::npos; });
  const auto nothing = [](const std::string& text) {
    EXPECT_EQ(text, "");
    return true;
  };
  lines.responder().until(nothing);
  whole.responder().until(nothing);
}

TEST(ChatCompletions, IsCancelledWhenTheClientLeaves) {
  for (const bool stream : {false, true}) {
    FakeServer server;
    server.model().hold = true;
    App app(server.models, server.options);
    const auto responder = std::make_shared<FakeResponder>();
    http::Request request;
    request.method = "POST";
    request.path = kChat;
    request.body = to_text(chat({{"n", 2}, {"stream", stream}}));
    app.handle(std::move(request), responder);
    while (server.model().waiting() < 2) std::this_thread::yield();
    responder->leave();
    server.model().join();
    EXPECT_THAT(server.model().cancelled, ElementsAre(1, 2));
  }
}

TEST(ChatCompletions, SeparatesKeysWhereAsked) {
  FakeServer server;
  server.exchange("POST", kChat, to_text(chat()), {{"Authorization", "Bearer secret"}});
  server.options.isolate_keys = true;
  server.exchange("POST", kChat, to_text(chat()), {{"Authorization", "Bearer secret"}});
  server.exchange("POST", kChat, to_text(chat()), {{"X-Api-Key", "other"}});
  EXPECT_EQ(server.model().taken[0].cache_key, "");
  EXPECT_EQ(server.model().taken[1].cache_key, "secret");
  EXPECT_EQ(server.model().taken[2].cache_key, "other");
}

// What reached the model of the form that a request wants.
ConstraintSpec form_of(const Json& more) {
  FakeServer server;
  EXPECT_THAT(server.refusal(kChat, chat(more)), HasSubstr("keyword 'not'")) << more;  // the fake knows no forms
  return server.model().last_constraint.value_or(ConstraintSpec{});
}

TEST(ChatCompletions, TakeVllmsForms) {
  using Kind = ConstraintSpec::Kind;
  for (const Json& more : {Json{{"structured_outputs", {{"regex", "a+"}}}}, Json{{"guided_regex", "a+"}}}) {
    EXPECT_EQ(form_of(more).kind, Kind::kRegex);
    EXPECT_EQ(form_of(more).text, "a+");
  }
  for (const Json& more :
       {Json{{"structured_outputs", {{"choice", {"yes", "no"}}}}}, Json{{"guided_choice", {"yes", "no"}}}}) {
    EXPECT_EQ(form_of(more).kind, Kind::kTags);
    EXPECT_EQ(Json::parse(form_of(more).text)["elements"][1]["value"], "no");
  }
  for (const Json& more : {Json{{"structured_outputs", {{"json", {{"type", "object"}}}}}},
                           Json{{"guided_json", "{\"type\":\"object\"}"}}}) {
    EXPECT_EQ(form_of(more).kind, Kind::kJsonSchema);
    EXPECT_EQ(form_of(more).text, "{\"type\":\"object\"}");
  }
  EXPECT_EQ(form_of({{"structured_outputs", {{"grammar", "root ::= x"}}}}).kind, Kind::kGrammar);
  EXPECT_EQ(form_of({{"guided_grammar", "root ::= x"}}).kind, Kind::kGrammar);
  EXPECT_EQ(form_of({{"structured_outputs", {{"json_object", true}}}}).kind, Kind::kJsonObject);
}

TEST(ChatCompletions, RefuseVllmsFormsByName) {
  FakeServer server;
  const auto refusal = [&](const Json& more) { return server.refusal(kChat, chat(more)); };
  EXPECT_THAT(refusal({{"structured_outputs", {{"regex", "a"}}}}), StartsWith("400 structured_outputs: keyword"));
  EXPECT_THAT(refusal({{"guided_regex", "a"}}), StartsWith("400 guided_regex: keyword"));
  EXPECT_THAT(refusal({{"structured_outputs", 1}}), StartsWith("400 structured_outputs"));
  EXPECT_THAT(refusal({{"structured_outputs", {{"regex", 1}}}}), StartsWith("400 structured_outputs.regex"));
  EXPECT_THAT(refusal({{"structured_outputs", {{"choice", Json::array()}}}}),
              StartsWith("400 structured_outputs.choice"));
  EXPECT_THAT(refusal({{"guided_choice", {"a", ""}}}), StartsWith("400 guided_choice"));
  EXPECT_THAT(refusal({{"guided_json", 1}}), StartsWith("400 guided_json"));
  EXPECT_THAT(refusal({{"structured_outputs", {{"structural_tag", "x"}}}}),
              StartsWith("400 structured_outputs.structural_tag"));
  EXPECT_THAT(refusal({{"structured_outputs", {{"regex", "a"}, {"choice", {"b"}}}}}),
              StartsWith("400 structured_outputs.choice: structured_outputs.choice: a second form"));
  EXPECT_THAT(refusal({{"guided_regex", "a"}, {"response_format", {{"type", "json_object"}}}}),
              StartsWith("400 guided_regex: guided_regex: a second form beside response_format"));
}

TEST(ChatCompletions, TakeAFormBesideTools) {
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  const Json format = {{"type", "json_schema"}, {"json_schema", {{"schema", {{"type", "object"}}}}}};
  ConstraintSpec form = form_of({{"tools", tools}, {"response_format", format}});
  EXPECT_EQ(form.kind, ConstraintSpec::Kind::kJsonSchema);
  EXPECT_THAT(form.or_tags, HasSubstr("{\\\"name\\\": \\\"f\\\""));
  form = form_of({{"tools", tools}, {"response_format", format}, {"tool_choice", "required"}});
  EXPECT_EQ(form.kind, ConstraintSpec::Kind::kTags);  // nothing but calls
  form = form_of({{"tools", tools}, {"response_format", format}, {"tool_choice", "none"}});
  EXPECT_EQ(form.or_tags, "");
}

TEST(Completions, AnswersPromptsOfAllKinds) {
  FakeServer server;
  const auto prompts = [&](Json prompt) {
    server.model().taken.clear();
    const Json json = server.post("/v1/completions", {{"prompt", std::move(prompt)}}).json();
    std::vector<std::string> list;
    for (size_t i = 0; i < json["choices"].size(); ++i) {
      EXPECT_EQ(json["choices"][i]["text"], "Hello!");
      EXPECT_EQ(json["choices"][i]["index"], i);
      list.push_back(server.model().prompt_text(i));
    }
    return list;
  };
  EXPECT_THAT(prompts("ab"), ElementsAre("<256>ab"));
  EXPECT_THAT(prompts({"ab", "c"}), ElementsAre("<256>ab", "<256>c"));
  EXPECT_THAT(prompts({97, 98}), ElementsAre("ab"));
  EXPECT_THAT(prompts({{97}, {98, 99}}), ElementsAre("a", "bc"));
}

TEST(Completions, HasTheOlderShape) {
  FakeServer server;
  Json json = server.post("/v1/completions", {{"prompt", "ab"}, {"echo", true}, {"n", 2}, {"max_tokens", 2}}).json();
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("cmpl-"));
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["choices"][1],
            Json({{"text", "abHello"}, {"index", 1}, {"logprobs", nullptr}, {"finish_reason", "length"}}));
  EXPECT_EQ(json["usage"]["prompt_tokens"], 3);
  json = server.post("/v1/completions", {{"prompt", "ab"}, {"logprobs", 1}}).json();
  EXPECT_EQ(json["choices"][0]["logprobs"]["content"][1]["token"], "lo");
  json["choices"][0]["logprobs"].erase("content");
  EXPECT_EQ(json["choices"][0]["logprobs"], Json::parse(R"({"tokens": ["Hel", "lo", "!"],
      "token_logprobs": [-0.5, -0.5, -0.5],
      "top_logprobs": [{"Hel": -0.5}, {"Hel": -0.5, "lo": -0.5}, {"Hel": -0.5, "!": -0.5}],
      "text_offset": [0, 3, 5]})"));
}

TEST(Completions, Streams) {
  FakeServer server;
  const Reply reply =
      server.post("/v1/completions",
                  {{"prompt", "ab"}, {"stream", true}, {"echo", true}, {"stream_options", {{"include_usage", true}}}});
  const auto events = reply.events();
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0]["choices"][0]["text"], "ab");
  EXPECT_EQ(events[1]["choices"][0]["text"], "Hel");
  EXPECT_EQ(events[4]["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(events[4]["usage"].is_null());
  EXPECT_EQ(events[5]["usage"]["completion_tokens"], 3);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
  const auto plain = server.post("/v1/completions", {{"prompt", "ab"}, {"stream", true}}).events();
  EXPECT_EQ(plain.back()["usage"]["completion_tokens"], 3);
}

// The first token (BOS, which the text does not show) has no score; each other one has its own beside the best ones.
constexpr const char* kScores = R"({"tokens": ["<s>", "a", "b"], "token_logprobs": [null, -0.25, -0.5],
    "top_logprobs": [null, {"x": -0.125, "a": -0.25}, {"x": -0.125, "b": -0.5}], "text_offset": [0, 0, 1]})";

TEST(Completions, ScoresThePrompt) {
  FakeServer server;
  Json json =
      server.post("/v1/completions", {{"prompt", "ab"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 0}}).json();
  EXPECT_TRUE(server.model().taken[0].score_prompt);
  EXPECT_EQ(server.model().taken[0].max_tokens, 0);
  EXPECT_EQ(json["choices"][0]["text"], "ab");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(json["choices"][0]["logprobs"]["content"].size(), 2U);
  json["choices"][0]["logprobs"].erase("content");
  EXPECT_EQ(json["choices"][0]["logprobs"], Json::parse(kScores));
  json = server.post("/v1/completions", {{"prompt", "ab"}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 1}}).json();
  EXPECT_EQ(json["choices"][0]["text"], "abHel");
  EXPECT_EQ(json["choices"][0]["logprobs"]["tokens"], Json({"<s>", "a", "b", "Hel"}));
  EXPECT_EQ(json["choices"][0]["logprobs"]["text_offset"], Json({0, 0, 1, 2}));
  json = server.post("/v1/completions", {{"prompt", "\u00e4b"}, {"echo", true}, {"logprobs", 0}}).json();
  EXPECT_EQ(json["choices"][0]["logprobs"]["text_offset"], Json({0, 0, 1, 1, 2, 5, 7}));  // in characters
  EXPECT_EQ(json["choices"][0]["logprobs"]["top_logprobs"][3], Json({{"b", -0.75}}));
  server.post("/v1/completions", {{"prompt", "ab"}, {"echo", true}});
  EXPECT_FALSE(server.model().taken.back().score_prompt);
}

TEST(Completions, StreamsTheScoresOfThePrompt) {
  FakeServer server;
  const auto events =
      server.post("/v1/completions", {{"prompt", {"ab", "cd"}}, {"echo", true}, {"logprobs", 1}, {"stream", true}})
          .events();
  std::vector<std::string> texts(2);
  for (const Json& event : events) {
    const Json& choice = event["choices"][0];
    std::string& text = texts[choice["index"].get<size_t>()];
    if (text.empty()) {
      EXPECT_EQ(choice["logprobs"]["token_logprobs"], Json({nullptr, -0.25, -0.5}));
    }
    if (text == "ab") {
      EXPECT_EQ(choice["logprobs"]["text_offset"], Json({2}));
    }
    text += choice["text"].get<std::string>();
  }
  EXPECT_THAT(texts, ElementsAre("abHello!", "cdHello!"));
}

TEST(Completions, FillsIn) {
  FakeServer server;
  server.post("/v1/completions", {{"prompt", "a"}, {"suffix", "b"}});
  EXPECT_EQ(server.model().prompt_text(), "<256><258>a<259>b<260>");
  server.model().fills_in = false;
  EXPECT_THAT(server.refusal("/v1/completions", {{"prompt", "a"}, {"suffix", "b"}}),
              StartsWith("400 suffix: suffix: this model has no tokens for filling in"));
}

TEST(Completions, RefusesByName) {
  FakeServer server;
  const auto refusal = [&](Json more) {
    Json body = {{"prompt", "a"}};
    body.update(more);
    return server.refusal("/v1/completions", body);
  };
  EXPECT_THAT(refusal({{"prompt", nullptr}}), StartsWith("400 prompt"));
  EXPECT_THAT(refusal({{"prompt", Json::object()}}), StartsWith("400 prompt"));
  EXPECT_THAT(refusal({{"prompt", Json::array()}}), StartsWith("400 prompt: the prompt is empty"));
  EXPECT_THAT(refusal({{"prompt", {1, "a"}}}), StartsWith("400 prompt"));
  EXPECT_THAT(refusal({{"prompt", {5000}}}), StartsWith("400 prompt: prompt: 5000 is no token"));
  EXPECT_THAT(refusal({{"prompt", {-1}}}), StartsWith("400 prompt"));
  EXPECT_THAT(refusal({{"best_of", 3}}), StartsWith("400 best_of"));
  EXPECT_THAT(refusal({{"max_tokens", -1}}), StartsWith("400 max_tokens"));
  EXPECT_THAT(refusal({{"logprobs", 50}}), StartsWith("400 logprobs"));
}

TEST(Responses, AnswersAsAWhole) {
  FakeServer server;
  const Json json =
      server.post("/v1/responses", {{"model", "fake"}, {"input", "Hi"}, {"instructions", "Be short"}}).json();
  EXPECT_EQ(server.model().prompt_text(), "system:Be short|user:Hi|assistant:");
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("resp_"));
  EXPECT_EQ(json["object"], "response");
  EXPECT_EQ(json["status"], "completed");
  EXPECT_GE(json["completed_at"].get<int64_t>(), json["created_at"].get<int64_t>());
  ASSERT_EQ(json["output"].size(), 1U);
  EXPECT_EQ(json["output"][0]["type"], "message");
  EXPECT_EQ(json["output"][0]["content"], Json::parse(R"([{"type": "output_text", "text": "Hello!", "annotations": [],
      "logprobs": []}])"));
  EXPECT_EQ(json["usage"]["input_tokens"], 34);
  EXPECT_EQ(json["usage"]["output_tokens"], 3);
  EXPECT_EQ(json["instructions"], "Be short");
  EXPECT_EQ(json["parallel_tool_calls"], true);
  EXPECT_EQ(json["tool_choice"], "auto");
  EXPECT_EQ(json["tools"], Json::array());
}

TEST(Responses, CallTools) {
  FakeServer server;
  server.model().script = {R"({"name": "add", )", R"("arguments": {"a")", ": 1}}"};
  const Json tool = {{"type", "function"}, {"name", "add"}, {"parameters", {{"type", "object"}}}};
  const Json body = {{"input", "Hi"}, {"tools", Json::array({tool})}};
  const Json json = server.post("/v1/responses", body).json();
  ASSERT_EQ(json["output"].size(), 1U);
  EXPECT_EQ(json["output"][0]["type"], "function_call");
  EXPECT_EQ(json["output"][0]["name"], "add");
  EXPECT_EQ(Json::parse(json["output"][0]["arguments"].get<std::string>()), Json({{"a", 1}}));
  EXPECT_TRUE(json["tools"][0]["strict"].is_null());
  EXPECT_THAT(server.refusal("/v1/responses", {{"input", "Hi"}, {"tools", {{{"type", "web_search"}}}}}),
              StartsWith("400 tools[0]"));
}

TEST(Responses, TellsThatItWasCut) {
  FakeServer server;
  const Json json = server.post("/v1/responses", {{"input", "Hi"}, {"max_output_tokens", 1}}).json();
  EXPECT_EQ(json["status"], "incomplete");
  EXPECT_EQ(json["incomplete_details"]["reason"], "max_output_tokens");
}

TEST(Responses, ReadsItems) {
  FakeServer server;
  const Json input = Json::parse(R"([{"role": "user", "content": [{"type": "input_text", "text": "a"}]},
    {"type": "reasoning", "summary": []},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
    {"type": "message", "role": "user", "content": "c"}])");
  EXPECT_EQ(server.post("/v1/responses", {{"input", input}}).status, 200);
  EXPECT_EQ(server.model().prompt_text(), "user:a|assistant:b|user:c|assistant:");
}

TEST(Responses, StreamsNamedEvents) {
  FakeServer server;
  const Reply reply = server.post("/v1/responses", {{"input", "Hi"}, {"stream", true}});
  std::vector<std::string> types;
  int number = 0;
  for (const Json& event : reply.events()) {
    types.push_back(event["type"]);
    EXPECT_EQ(event["sequence_number"], number++);
    EXPECT_THAT(reply.body, HasSubstr("event: " + types.back() + "\ndata: "));
  }
  EXPECT_THAT(types,
              ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                          "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
                          "response.output_text.delta", "response.output_text.done", "response.content_part.done",
                          "response.output_item.done", "response.completed"));
  const Json last = reply.events().back();
  EXPECT_EQ(last["response"]["output"][0]["content"][0]["text"], "Hello!");
  EXPECT_EQ(last["response"]["output"][0]["id"], reply.events()[2]["item"]["id"]);
}

TEST(Responses, RefusesByName) {
  FakeServer server;
  const auto refusal = [&](Json more) {
    Json body = {{"input", "Hi"}};
    body.update(more);
    return server.refusal("/v1/responses", body);
  };
  EXPECT_THAT(refusal({{"previous_response_id", "resp_1"}}),
              StartsWith("400 previous_response_id: previous_response_id: this server keeps no conversations"));
  EXPECT_THAT(refusal({{"conversation", "c"}}), StartsWith("400 conversation"));
  EXPECT_THAT(refusal({{"background", true}}), StartsWith("400 background"));
  EXPECT_THAT(refusal({{"truncation", "auto"}}), StartsWith("400 truncation"));
  EXPECT_THAT(refusal({{"input", nullptr}}), StartsWith("400 input"));
  EXPECT_THAT(refusal({{"input", {{{"type", "computer_call"}}}}}), StartsWith("400 input[0].type"));
  EXPECT_THAT(refusal({{"input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}}}}),
              StartsWith("400 input[0].content[0]"));
  EXPECT_THAT(refusal({{"max_output_tokens", 0}}), StartsWith("400 max_output_tokens"));
  EXPECT_THAT(refusal({{"text", {{"format", {{"type", "json_object"}}}}}}), StartsWith("400 text.format"));
}

TEST(Models, AreListed) {
  FakeServer server;
  const Json json = server.get("/v1/models").json();
  EXPECT_EQ(json["object"], "list");
  EXPECT_EQ(json["data"][0]["id"], "fake");
  EXPECT_EQ(json["data"][0]["object"], "model");
  EXPECT_EQ(json["data"][0]["created"], 1'700'000'000);
  EXPECT_EQ(json["data"][0]["max_model_len"], 64);
  EXPECT_EQ(json["data"][0]["meta"]["n_ctx_train"], 128);
  EXPECT_EQ(server.get("/models").json(), json);
  EXPECT_EQ(server.get("/v1/models/fake").json(), json["data"][0]);
  EXPECT_EQ(server.get("/v1/models/none").status, 404);
}

}  // namespace
}  // namespace s3d::serve
