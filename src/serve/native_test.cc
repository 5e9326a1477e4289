#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/fake_model.h"

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(NativeCompletion, AnswersAsAWhole) {
  FakeServer server;
  const Json json = server.post("/completion", {{"prompt", "ab"}, {"n_predict", 2}, {"temperature", 0.5}}).json();
  EXPECT_EQ(json["content"], "Hello");
  EXPECT_EQ(json["stop"], true);
  EXPECT_EQ(json["stop_type"], "limit");
  EXPECT_EQ(json["tokens_predicted"], 2);
  EXPECT_EQ(json["tokens_evaluated"], 3);
  EXPECT_EQ(json["model"], "fake");
  EXPECT_EQ(json["prompt"], "<s>ab");
  EXPECT_EQ(json["generation_settings"]["temperature"], 0.5);
  EXPECT_EQ(json["generation_settings"]["n_predict"], 2);
  EXPECT_EQ(json["timings"]["predicted_n"], 2);
}

TEST(NativeCompletion, StreamsWithoutDone) {
  FakeServer server;
  const Reply reply = server.post("/completion", {{"prompt", "ab"}, {"stream", true}, {"return_tokens", true}});
  const auto events = reply.events();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0]["content"], "Hel");
  EXPECT_EQ(events[0]["tokens"], Json({300}));
  EXPECT_EQ(events[0]["stop"], false);
  EXPECT_EQ(events[3]["content"], "");
  EXPECT_EQ(events[3]["stop"], true);
  EXPECT_EQ(events[3]["stop_type"], "eos");
  EXPECT_TRUE(events[3].contains("timings"));
  EXPECT_THAT(reply.body, testing::Not(HasSubstr("[DONE]")));
}

TEST(NativeCompletion, JoinsTextsAndTokens) {
  FakeServer server;
  server.post("/completion", {{"prompt", {"a", 98, "c"}}});
  EXPECT_EQ(server.model().prompt_text(), "<256>abc");
}

TEST(NativeCompletion, AnswersSeveralPrompts) {
  FakeServer server;
  Json json = server.post("/completion", {{"prompt", {"a", "b"}}}).json();
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[1]["index"], 1);
  EXPECT_EQ(json[1]["prompt"], "<s>b");
  EXPECT_EQ(json[1]["content"], "Hello!");
  json = server.post("/completion", {{"prompt", {{"a", 98}, {97, 98}, "c"}}}).json();
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0]["prompt"], "<s>ab");
  EXPECT_EQ(json[1]["prompt"], "ab");
  EXPECT_EQ(server.post("/completion", {{"prompt", {97, 98}}}).json()["prompt"], "ab");
  EXPECT_EQ(server.post("/completion", {{"prompt", {{"prompt_string", "a"}}}}).json()["prompt"], "<s>a");
  EXPECT_THAT(server.refusal("/completion", {{"prompt", {{"prompt_string", "a"}, {"multimodal_data", {"x"}}}}}),
              StartsWith("400 prompt"));
}

TEST(NativeCompletion, GivesTheMembersThatAreAskedFor) {
  FakeServer server;
  const Json fields = {"content", "generation_settings/n_predict", "timings/none", "x"};
  EXPECT_EQ(server.post("/completion", {{"prompt", "a"}, {"n_predict", 2}, {"response_fields", fields}}).json(),
            Json({{"content", "Hello"}, {"generation_settings/n_predict", 2}}));
}

TEST(NativeCompletion, GivesProbabilities) {
  FakeServer server;
  const Json json = server.post("/completion", {{"prompt", "a"}, {"n_probs", 1}}).json();
  EXPECT_EQ(json["completion_probabilities"][1]["id"], 301);
  EXPECT_EQ(json["completion_probabilities"][1]["top_logprobs"][0]["token"], "Hel");
}

TEST(NativeCompletion, RefusesByName) {
  FakeServer server;
  EXPECT_THAT(server.refusal("/completion", Json::object()), StartsWith("400 prompt"));
  EXPECT_THAT(server.refusal("/completion", {{"prompt", {-1}}}), StartsWith("400 prompt"));
  EXPECT_THAT(server.refusal("/completion", {{"prompt", "a"}, {"n_predict", -2}}), StartsWith("400 n_predict"));
  EXPECT_THAT(server.refusal("/completion", {{"prompt", "a"}, {"n_keep", 5}}), StartsWith("400 n_keep"));
  const Json error = server.post("/completion", {{"prompt", std::string(80, 'x')}}).json()["error"];
  EXPECT_EQ(error["code"], 400);
  EXPECT_EQ(error["type"], "exceed_context_size_error");
  EXPECT_EQ(error["n_ctx"], 64);
}

TEST(Infill, MakesThePrompt) {
  FakeServer server;
  server.post("/infill", {{"input_prefix", "a"}, {"prompt", "b"}, {"input_suffix", "c"}});
  EXPECT_EQ(server.model().prompt_text(), "<256><258>ab<259>c<260>");
  server.model().fills_in = false;
  EXPECT_THAT(server.refusal("/infill", {{"input_prefix", "a"}, {"input_suffix", "c"}}), StartsWith("501"));
  EXPECT_THAT(server.refusal("/infill", {{"input_extra", {5}}}), StartsWith("400 input_extra[0]"));
}

TEST(Tokenize, GivesIdsAndPieces) {
  FakeServer server;
  EXPECT_EQ(server.post("/tokenize", {{"content", "ab"}}).json(), Json({{"tokens", {97, 98}}}));
  EXPECT_EQ(server.post("/tokenize", {{"content", "a"}, {"add_special", true}}).json(), Json({{"tokens", {256, 97}}}));
  EXPECT_EQ(server.post("/tokenize", {{"content", "a\xc3\xa4"}, {"with_pieces", true}}).json(),
            Json::parse(R"({"tokens": [{"id": 97, "piece": "a"}, {"id": 195, "piece": [195]},
                {"id": 164, "piece": [164]}]})"));
  EXPECT_THAT(server.refusal("/tokenize", {{"content", 5}}), StartsWith("400 content"));
}

TEST(Detokenize, GivesText) {
  FakeServer server;
  EXPECT_EQ(server.post("/detokenize", {{"tokens", {97, 98, 300}}}).json(), Json({{"content", "abHel"}}));
  EXPECT_THAT(server.refusal("/detokenize", {{"tokens", {5000}}}), StartsWith("400 tokens"));
  EXPECT_THAT(server.refusal("/detokenize", {{"tokens", "a"}}), StartsWith("400 tokens"));
}

TEST(ApplyTemplate, GivesThePrompt) {
  FakeServer server;
  EXPECT_EQ(server.post("/apply-template", {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}}).json(),
            Json({{"prompt", "user:Hi|assistant:"}}));
  EXPECT_THAT(server.refusal("/apply-template", Json::object()), StartsWith("400 messages"));
}

TEST(Health, SaysWhetherTheModelIsThere) {
  FakeServer server;
  for (const char* path : {"/health", "/v1/health"}) {
    server.models.is_ready = true;
    EXPECT_EQ(server.get(path).json(), Json({{"status", "ok"}}));
    server.models.is_ready = false;
    const Reply reply = server.get(path);
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.json()["error"]["message"], "Loading model");
  }
}

TEST(Props, TellWhatTheServerIs) {
  FakeServer server;
  const Json json = server.get("/props").json();
  EXPECT_EQ(json["default_generation_settings"]["n_ctx"], 64);
  EXPECT_EQ(json["default_generation_settings"]["params"]["temperature"], 0);
  EXPECT_EQ(json["total_slots"], 2);
  EXPECT_EQ(json["model_path"], "/models/fake.gguf");
  EXPECT_EQ(json["build_info"], "s3d 1.2.3");
}

TEST(Slots, TellWhatRuns) {
  FakeServer server;
  const Json json = server.get("/slots").json();
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0]["id_task"], 7);
  EXPECT_EQ(json[0]["is_processing"], true);
  EXPECT_EQ(json[1]["is_processing"], false);
  server.options.slots = false;
  EXPECT_EQ(server.get("/slots").status, 501);
}

TEST(Metrics, HaveTheNamesOfBothServers) {
  FakeServer server;
  App app(server.models, server.options);
  const auto ask = [&](std::string method, std::string path, std::string body) {
    const auto responder = std::make_shared<FakeResponder>();
    http::Request request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.body = std::move(body);
    app.handle(std::move(request), responder);
    return responder->wait();
  };
  ask("POST", "/completion", R"({"prompt": "ab"})");
  server.model().join();
  const Reply reply = ask("GET", "/metrics", "");
  EXPECT_EQ(reply.headers.value_or("Content-Type", ""), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {"vllm:num_requests_running{model_name=\"fake\"} 2\n", "vllm:num_requests_waiting{model_name=\"fake\"} 3\n",
        "vllm:kv_cache_usage_perc{model_name=\"fake\"} 0.25\n", "vllm:prompt_tokens_total{model_name=\"fake\"} 3\n",
        "vllm:generation_tokens_total{model_name=\"fake\"} 3\n",
        "vllm:request_success_total{model_name=\"fake\",finished_reason=\"stop\"} 1\n",
        "vllm:spec_decode_num_draft_tokens_total{model_name=\"fake\"} 6\n",
        "vllm:time_to_first_token_seconds_bucket{model_name=\"fake\",le=\"+Inf\"} 1\n",
        "# TYPE vllm:time_to_first_token_seconds histogram\n", "llamacpp:prompt_tokens_total 2\n",
        "llamacpp:tokens_predicted_total 3\n", "llamacpp:prompt_tokens_seconds 4\n",
        "llamacpp:predicted_tokens_seconds 12\n", "llamacpp:requests_processing 2\n",
        "llamacpp:requests_deferred 3\n"}) {
    EXPECT_THAT(reply.body, HasSubstr(line));
  }
}

TEST(Routes, SayWhatTheyTake) {
  FakeServer server;
  Reply reply = server.get("/v1/chat/completions");
  EXPECT_EQ(reply.status, 405);
  EXPECT_THAT(reply.body, HasSubstr("takes POST, not GET"));
  reply = server.get("/v1/nothing");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.json()["error"]["code"], "not_found");
  EXPECT_EQ(server.get("/api/nothing").json()["error"], "no such route: /api/nothing");
  EXPECT_EQ(server.exchange("HEAD", "/health").status, 200);
}

TEST(Routes, GiveBrowsersThePage) {
  FakeServer server;
  const auto root = [&] { return server.exchange("GET", "/", "", {{"Accept", "text/html,*/*"}}); };
  EXPECT_EQ(root().body, "Ollama is running");
  EXPECT_EQ(server.get("/app.js").status, 404);
  server.options.page = std::make_shared<const Page>(Page::built_in());
  EXPECT_THAT(root().body, StartsWith("<!"));
  EXPECT_EQ(server.get("/").body, "Ollama is running");
  EXPECT_EQ(server.get("/app.js").status, 200);
}

}  // namespace
}  // namespace s3d::serve
