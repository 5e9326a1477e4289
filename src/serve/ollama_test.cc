#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/fake_model.h"
#include "serve/ollama_common.h"

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Json ask(const Json& more = Json::object()) {
  Json body = {{"model", "fake"}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  body.update(more);
  return body;
}

TEST(OllamaChat, StreamsByDefault) {
  FakeServer server;
  const Reply reply = server.post("/api/chat", ask());
  EXPECT_TRUE(reply.streamed);
  EXPECT_EQ(reply.headers.value_or("Content-Type", ""), "application/x-ndjson");
  const auto lines = reply.events();
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0]["message"], Json({{"role", "assistant"}, {"content", "Hel"}}));
  EXPECT_EQ(lines[0]["done"], false);
  EXPECT_EQ(lines[3]["done"], true);
  EXPECT_EQ(lines[3]["done_reason"], "stop");
  EXPECT_EQ(lines[3]["prompt_eval_count"], 18);
  EXPECT_EQ(lines[3]["eval_count"], 3);
  EXPECT_EQ(lines[3]["prompt_eval_duration"], 500'000'000);
  EXPECT_EQ(lines[3]["eval_duration"], 250'000'000);
  EXPECT_THAT(lines[3]["created_at"].get<std::string>(), testing::MatchesRegex("20..-..-..T..:..:...*Z"));
}

TEST(OllamaChat, AnswersAsAWhole) {
  FakeServer server;
  const Json json =
      server.post("/api/chat", ask({{"stream", false}, {"options", {{"num_predict", 1}, {"seed", 3}, {"top_k", 5}}}}))
          .json();
  EXPECT_EQ(json["model"], "fake");
  EXPECT_EQ(json["message"]["content"], "Hel");
  EXPECT_EQ(json["done_reason"], "length");
  EXPECT_EQ(server.model().taken[0].sampler.seed, 3U);
  EXPECT_EQ(server.model().taken[0].sampler.top_k, 5);
  EXPECT_EQ(server.model().taken[0].max_tokens, 1);
}

TEST(OllamaChat, SaysThatTheContextIsCut) {
  FakeServer server;
  const Reply reply = server.post("/api/chat", ask({{"stream", false}, {"options", {{"num_ctx", 100000}}}}));
  EXPECT_THAT(reply.headers.value_or("X-S3D-Warning", ""), StartsWith("num_ctx 100000 was cut to 64"));
}

TEST(OllamaChat, PassesThinkingOn) {
  FakeServer server;
  EXPECT_THAT(server.refusal("/api/chat", ask({{"think", true}})), StartsWith("400 think: this model has no thoughts"));
  server.post("/api/chat", ask({{"think", false}}));
  EXPECT_THAT(server.model().last_chat.variables, ElementsAre("enable_thinking=false"));
}

TEST(OllamaChat, LoadsAndUnloads) {
  FakeServer server;
  Json json = server.post("/api/chat", {{"model", "fake"}}).json();
  EXPECT_EQ(json["done_reason"], "load");
  EXPECT_TRUE(server.models.unloaded.empty());
  json = server.post("/api/chat", {{"model", "fake:latest"}, {"messages", Json::array()}, {"keep_alive", 0}}).json();
  EXPECT_EQ(json["done_reason"], "unload");
  EXPECT_THAT(server.models.unloaded, ElementsAre("fake"));
}

TEST(OllamaChat, RefusesByName) {
  FakeServer server;
  EXPECT_EQ(server.refusal("/api/chat", Json::object()), "400 model: expected the name of a model");
  EXPECT_THAT(server.refusal("/api/chat", ask({{"model", "none"}})), StartsWith("404 model 'none' not found"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"options", {{"temperature", "x"}}}})),
              StartsWith("400 options.temperature: expected a number"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"options", {{"mirostat", 1}}}})), StartsWith("400 options.mirostat"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"options", 1}})), StartsWith("400 options: expected an object"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"format", "xml"}})), StartsWith("400 format"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"format", "json"}})), StartsWith("400 keyword 'not'"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"think", 5}})), StartsWith("400 think"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"think", "hard"}})), StartsWith("400 think"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"keep_alive", "soon"}})), StartsWith("400 keep_alive"));
  EXPECT_THAT(
      server.refusal("/api/chat", ask({{"messages", {{{"role", "user"}, {"content", "a"}, {"images", {"abc"}}}}}})),
      StartsWith("400 messages[0].images"));
  EXPECT_THAT(server.refusal("/api/chat", ask({{"messages", {{{"role", "user"}, {"content", std::string(99, 'x')}}}}})),
              StartsWith("400 This model's maximum context length is 64 tokens"));
}

TEST(OllamaChat, EndsAStreamWithItsError) {
  FakeServer server;
  server.model().break_with = JobError{JobError::Kind::kFailed, "a pass failed"};
  server.model().break_after = 1;
  EXPECT_EQ(server.post("/api/chat", ask()).events().back(), Json({{"error", "a pass failed"}}));
}

TEST(OllamaGenerate, MakesAChatOfThePrompt) {
  FakeServer server;
  const Json json =
      server.post("/api/generate", {{"model", "fake"}, {"prompt", "Hi"}, {"system", "S"}, {"stream", false}}).json();
  EXPECT_EQ(json["response"], "Hello!");
  EXPECT_EQ(server.model().prompt_text(), "system:S|user:Hi|assistant:");
  EXPECT_EQ(json["context"].size(), server.model().taken[0].prompt.size() + 3);
}

TEST(OllamaGenerate, PartsThoughtsFromTheAnswer) {
  FakeServer server;
  server.model().card().chat_template = "{{ messages }} </think>";
  server.model().script = {"<think>", "Well", "</think>", "So"};
  Json body = {{"model", "fake"}, {"prompt", "Hi"}, {"think", "high"}, {"stream", false}};
  Json json = server.post("/api/generate", body).json();
  EXPECT_EQ(json["thinking"], "Well");
  EXPECT_EQ(json["response"], "So");
  EXPECT_THAT(server.model().last_chat.variables, ElementsAre("enable_thinking=true", "reasoning_effort=\"high\""));
  body["stream"] = true;
  std::string thinking, response;
  for (const Json& line : server.post("/api/generate", body).events()) {
    thinking += line.value("thinking", "");
    response += line["response"].get<std::string>();
  }
  EXPECT_EQ(thinking, "Well");
  EXPECT_EQ(response, "So");
  body["think"] = true;
  server.post("/api/generate", body);
  EXPECT_THAT(server.model().last_chat.variables, ElementsAre("enable_thinking=true"));
  body["raw"] = true;  // what the model writes stays as it is
  body["stream"] = false;
  EXPECT_EQ(server.post("/api/generate", body).json()["response"], "<think>Well</think>So");
  server.model().card().chat_template = "{{ messages }}";
  body.erase("raw");
  EXPECT_THAT(server.refusal("/api/generate", body), StartsWith("400 think: this model has no thoughts"));
}

TEST(OllamaGenerate, TakesRawPromptsAndGaps) {
  FakeServer server;
  server.post("/api/generate", {{"model", "fake"}, {"prompt", "Hi"}, {"raw", true}, {"context", {97}}});
  EXPECT_EQ(server.model().prompt_text(0), "a<256>Hi");
  server.post("/api/generate", {{"model", "fake"}, {"prompt", "a"}, {"suffix", "b"}});
  EXPECT_EQ(server.model().prompt_text(1), "<256><258>a<259>b<260>");
}

TEST(OllamaGenerate, StreamsLines) {
  FakeServer server;
  const auto lines = server.post("/api/generate", {{"model", "fake"}, {"prompt", "Hi"}}).events();
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[1]["response"], "lo");
  EXPECT_EQ(lines[3]["response"], "");
  EXPECT_EQ(lines[3]["done"], true);
}

TEST(OllamaGenerate, RefusesByName) {
  FakeServer server;
  const auto refusal = [&](Json more) {
    Json body = {{"model", "fake"}, {"prompt", "a"}};
    body.update(more);
    return server.refusal("/api/generate", body);
  };
  EXPECT_THAT(refusal({{"images", {"x"}}}), StartsWith("400 images"));
  EXPECT_THAT(refusal({{"template", "{{ .Prompt }}"}}), StartsWith("400 template"));
  EXPECT_THAT(refusal({{"context", {5000}}}), StartsWith("400 context"));
  EXPECT_EQ(server.post("/api/generate", {{"model", "fake"}}).json()["done_reason"], "load");
}

TEST(OllamaModels, AreListed) {
  FakeServer server;
  Json tag = server.get("/api/tags").json()["models"][0];
  EXPECT_EQ(tag, Json::parse(R"({"name": "fake:latest", "model": "fake:latest", "modified_at": "2023-11-14T22:13:20Z",
    "size": 1000, "digest": ")" +
                             std::string(64, 'a') + R"(", "details": {"parent_model": "", "format": "gguf",
    "family": "llama", "families": ["llama"], "parameter_size": "134.5M", "quantization_level": "Q4_K"}})"));
  const Json running = server.get("/api/ps").json()["models"][0];
  EXPECT_EQ(running["size_vram"], 0);
  EXPECT_EQ(running["context_length"], 64);
  EXPECT_THAT(running["expires_at"].get<std::string>(), StartsWith("21"));
}

TEST(OllamaModels, AreShown) {
  FakeServer server;
  for (const char* key : {"model", "name"}) {
    const Json json = server.post("/api/show", {{key, "fake"}}).json();
    EXPECT_EQ(json["template"], "{{ messages }} tools think");
    EXPECT_EQ(json["capabilities"], Json({"completion", "tools"}));
    EXPECT_EQ(json["model_info"]["general.architecture"], "llama");
    EXPECT_EQ(json["model_info"]["llama.context_length"], 128);
    EXPECT_THAT(json["parameters"].get<std::string>(), HasSubstr("num_ctx                        64\n"));
  }
  EXPECT_EQ(server.post("/api/show", {{"model", "none"}}).status, 404);
}

TEST(OllamaPull, StreamsItsProgress) {
  FakeServer server;
  EXPECT_EQ(server.post("/api/pull", {{"model", "hf.co/u/r"}}).status, 501);
  server.options.pull = [](const std::string& name, const auto& progress) -> Status {
    if (name == "bad") return Error{"no such repository"};
    progress({.status = "pulling " + name, .digest = "sha256:1", .total = 10, .completed = 5});
    return Ok();
  };
  const auto lines = server.post("/api/pull", {{"model", "good"}}).events();
  EXPECT_THAT(lines,
              ElementsAre(Json({{"status", "pulling manifest"}}),
                          Json({{"status", "pulling good"}, {"digest", "sha256:1"}, {"total", 10}, {"completed", 5}}),
                          Json({{"status", "success"}})));
  EXPECT_EQ(server.post("/api/pull", {{"model", "bad"}}).events().back(), Json({{"error", "no such repository"}}));
  EXPECT_EQ(server.post("/api/pull", {{"model", "good"}, {"stream", false}}).json(), Json({{"status", "success"}}));
}

TEST(OllamaServer, AnswersWhatClientsAskFirst) {
  FakeServer server;
  EXPECT_THAT(server.get("/api/version").json()["version"].get<std::string>(), testing::MatchesRegex("[0-9.]+"));
  EXPECT_EQ(server.get("/").body, "Ollama is running");
  EXPECT_EQ(server.post("/api/create", {{"model", "x"}}).status, 501);
}

TEST(Durations, AreRead) {
  EXPECT_EQ(parse_duration_seconds("5m"), 300);
  EXPECT_EQ(parse_duration_seconds("1h30m"), 5400);
  EXPECT_EQ(parse_duration_seconds("300"), 300);
  EXPECT_EQ(parse_duration_seconds("-1"), -1);
  EXPECT_EQ(parse_duration_seconds("-1s"), -1);
  EXPECT_EQ(parse_duration_seconds("1500ms"), 2);
  for (const char* wrong : {"", "-", "m", "5 m", "5x", "1e99h", "nan", "inf"}) {
    EXPECT_EQ(parse_duration_seconds(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace s3d::serve
