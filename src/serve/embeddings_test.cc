#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "serve/fake_model.h"

namespace s3d::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kRoute = "/v1/embeddings";

// Its vectors are [0.6, tokens / 10].
struct EmbeddingServer : FakeServer {
  EmbeddingServer() {
    model().card().pooling = Pooling::kLast;
    model().card().width = 2;
  }
};

TEST(Embeddings, AnswerInOpenAisShape) {
  EmbeddingServer server;
  Json json = server.post(kRoute, {{"model", "fake"}, {"input", "abc"}}).json();
  json["data"][0]["embedding"] = json["data"][0]["embedding"][1].get<float>();
  EXPECT_EQ(json, Json({{"object", "list"},
                        {"data", {{{"object", "embedding"}, {"index", 0}, {"embedding", 0.4F}}}},
                        {"model", "fake"},
                        {"usage", {{"prompt_tokens", 4}, {"total_tokens", 4}}}}));
  const Job& job = server.model().taken.at(0);
  EXPECT_EQ(server.model().prompt_text(), "<256>abc");
  EXPECT_TRUE(job.embed);
  EXPECT_EQ(job.max_tokens, 0);
  EXPECT_FALSE(job.use_cache);
}

TEST(Embeddings, TakeTextsAndIds) {
  EmbeddingServer server;
  const auto second = [&](const Json& input) {
    const Json json = server.post(kRoute, {{"input", input}}).json();
    std::vector<int> lengths;
    for (const Json& one : json["data"]) lengths.push_back(std::lround(one["embedding"][1].get<double>() * 10));
    return lengths;
  };
  EXPECT_EQ(second({"ab", "c"}), (std::vector{3, 2}));
  EXPECT_EQ(second({97, 98}), std::vector{2});
  EXPECT_EQ(second({{97}, {97, 98, 99}}), (std::vector{1, 3}));
}

TEST(Embeddings, ComeAsBase64) {
  EmbeddingServer server;
  const Json json = server.post(kRoute, {{"input", "abcd"}, {"encoding_format", "base64"}}).json();
  EXPECT_EQ(json["data"][0]["embedding"], "mpkZPwAAAD8=");  // 0.6, 0.5
}

TEST(Embeddings, RefuseByName) {
  EmbeddingServer server;
  const auto refusal = [&](Json more) {
    Json body = {{"input", "a"}};
    body.update(more);
    return server.refusal(kRoute, body);
  };
  EXPECT_THAT(refusal({{"input", nullptr}}), StartsWith("400 input"));
  EXPECT_THAT(refusal({{"input", 5}}), StartsWith("400 input"));
  EXPECT_THAT(refusal({{"input", Json::array()}}), StartsWith("400 input: input: a text without a token"));
  EXPECT_THAT(refusal({{"input", {"a", 5}}}), StartsWith("400 input"));
  EXPECT_THAT(refusal({{"input", {{5000}}}}), StartsWith("400 input[0]: input[0]: 5000 is no token"));
  EXPECT_THAT(refusal({{"input", std::string(64, 'a')}}), HasSubstr("65"));
  EXPECT_EQ(server.post(kRoute, {{"input", std::string(63, 'a')}}).status, 200);  // the whole context
  EXPECT_THAT(refusal({{"encoding_format", "hex"}}), StartsWith("400 encoding_format"));
  EXPECT_THAT(refusal({{"dimensions", 1}}), StartsWith("400 dimensions: dimensions: this model's vectors have 2"));
  EXPECT_EQ(server.post(kRoute, {{"input", "a"}, {"dimensions", 2}}).status, 200);
}

TEST(Embeddings, AreOfModelsThatSaySo) {
  FakeServer server;
  const Reply reply = server.post(kRoute, {{"input", "a"}});
  EXPECT_EQ(reply.status, 501);
  EXPECT_EQ(reply.json()["error"]["type"], "not_supported_error");
  EXPECT_THAT(reply.json()["error"]["message"].get<std::string>(), HasSubstr("this model has no pooling"));
  EXPECT_EQ(server.post("/api/embed", {{"model", "fake"}, {"input", "a"}}).status, 501);
  EXPECT_EQ(server.post("/embedding", {{"content", "a"}}).status, 501);
}

TEST(Embeddings, AnswerLlamaServersClients) {
  EmbeddingServer server;
  const Json json = server.post("/embedding", {{"content", "abc"}}).json();
  EXPECT_EQ(json[0]["index"], 0);
  EXPECT_EQ(json[0]["embedding"][0].size(), 2U);
  EXPECT_EQ(server.post("/embeddings", {{"input", {"a", "b"}}}).json().size(), 2U);
}

TEST(Embeddings, AnswerOllamasClients) {
  EmbeddingServer server;
  const Json json = server.post("/api/embed", {{"model", "fake"}, {"input", {"a", "bc"}}}).json();
  EXPECT_EQ(json["model"], "fake");
  ASSERT_EQ(json["embeddings"].size(), 2U);
  EXPECT_EQ(json["embeddings"][0].size(), 2U);
  EXPECT_EQ(json["prompt_eval_count"], 5);
  EXPECT_GT(json["total_duration"], 0);
  EXPECT_EQ(server.post("/api/embed", {{"model", "fake"}, {"input", Json::array()}}).json()["embeddings"],
            Json::array());
  EXPECT_EQ(server.post("/api/embeddings", {{"model", "fake"}, {"prompt", "a"}}).json()["embedding"].size(), 2U);
  const Json shown = server.post("/api/show", {{"model", "fake"}}).json();
  EXPECT_THAT(to_text(shown["capabilities"]), HasSubstr("embedding"));
}

TEST(Embeddings, CutTextsOnlyWhereTheRequestSaysSo) {
  EmbeddingServer server;
  const Json body = {{"model", "fake"}, {"input", std::string(100, 'a')}};
  EXPECT_EQ(server.post("/api/embed", body).status, 400);
  Json cut = body;
  cut["truncate"] = true;
  const Reply reply = server.post("/api/embed", cut);
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.headers.value_or("X-S3D-Warning", ""), HasSubstr("cut"));
  EXPECT_EQ(server.model().taken.back().prompt.size(), 64U);
}

}  // namespace
}  // namespace s3d::serve
