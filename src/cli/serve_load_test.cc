#include "cli/serve_load.h"

#include <gtest/gtest.h>

#include <atomic>

#include "cli/serve_chart.h"
#include "http/server.h"

namespace s3d::cli {
namespace {

constexpr const char* kPiece = R"(data: {"choices":[{"delta":{"content":"x"}}]})"
                               "\n\n";

// A server that answers every question alike: `pieces` of text, and then `last`.
class LoadTest : public testing::Test {
 protected:
  void start(int status, int pieces, const std::string& last) {
    server_ = std::make_unique<http::HttpServer>(
        http::ServerOptions{.port = 0}, [=, this](const http::Request& request, const auto& responder) {
          if (request.path == "/v1/models") return responder->send(200, {}, R"({"data":[{"id":"one"},{"id":"two"}]})");
          if (status != 200) return responder->send(status, {}, R"({"error":{"message":"the queue is full"}})");
          ++asked_;
          responder->begin(200, {{"Content-Type", "text/event-stream"}});
          for (int i = 0; i < pieces; ++i) responder->write(kPiece);
          responder->write(last);
          responder->end();
        });
    ASSERT_TRUE(server_->start().ok());
  }
  LoadTarget target() const { return {.name = "test", .url = server_->url(), .model = "one"}; }

  std::atomic<int> asked_{0};
  std::unique_ptr<http::HttpServer> server_;
};

TEST_F(LoadTest, CountsWhatTheServerCounts) {
  start(200, 3, "data: {\"choices\":[],\"usage\":{\"completion_tokens\":7}}\n\ndata: [DONE]\n\n");
  const auto result = run_load(target(), {.questions = {"a", "b"}, .requests = 10, .streams = 3}, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(asked_, 10);
  EXPECT_EQ(result->requests, 10);
  EXPECT_EQ(result->failed, 0);
  EXPECT_EQ(result->tokens, 70);
  EXPECT_EQ(result->first.size(), 10U);
  EXPECT_EQ(result->gaps.size(), 20U);
}

TEST_F(LoadTest, CountsPiecesWhereTheServerDoesNotCount) {
  start(200, 5, "data: [DONE]\n\n");
  EXPECT_EQ(run_load(target(), {.questions = {"a"}, .requests = 2}, {})->tokens, 10);
}

TEST_F(LoadTest, ARefusalIsAnErrorThatSaysWhy) {
  start(503, 0, "");
  const auto result = run_load(target(), {.questions = {"a"}, .requests = 4, .streams = 2}, {});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("status 503: the queue is full"), std::string::npos) << result.error().message;
}

TEST_F(LoadTest, AnErrorInMidAnswerIsAFailure) {
  start(200, 2, "data: {\"error\":{\"message\":\"broke\"}}\n\n");
  EXPECT_NE(run_load(target(), {.questions = {"a"}, .requests = 1}, {}).error().message.find("broke"),
            std::string::npos);
}

TEST_F(LoadTest, ALongPromptArrivesOnce) {
  start(200, 3, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4000,\"completion_tokens\":7}}\n\n");
  const auto result = run_load(target(), {.questions = {"a"}, .requests = 6, .streams = 2, .long_prompt = 4000}, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(asked_, 7);
  EXPECT_EQ(result->requests, 6);
  EXPECT_EQ(result->tokens, 42);
  EXPECT_EQ(result->long_prompt.tokens, 4000);
  EXPECT_GT(result->long_prompt.first, 0);
}

TEST_F(LoadTest, NamesTheModels) {
  start(200, 0, "");
  EXPECT_EQ(*served_models(target()), (std::vector<std::string>{"one", "two"}));
  server_->stop();
  EXPECT_NE(served_models({.url = "http://127.0.0.1:1"}).error().message.find("is a server running there?"),
            std::string::npos);
}

TEST(PercentileTest, IsTheNearestRank) {
  EXPECT_EQ(percentile({}, 0.5), 0);
  EXPECT_EQ(percentile({3}, 0.99), 3);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.5), 2);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.99), 4);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0), 1);
}

TEST(ChartTest, DrawsEveryServerAndEscapesItsName) {
  const std::string svg = throughput_chart({{"a<b>", {{1, 10}, {8, 40}}}, {"c", {{1, 5}, {8, 50}}}});
  EXPECT_NE(svg.find("a&lt;b&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("a<b>"), std::string::npos);
  // 50 is the top of the scale: the second line ends at the upper edge, the first at four fifths of the height.
  EXPECT_NE(svg.find("70.0,293.0 540.0,50.0 "), std::string::npos) << svg;
  EXPECT_NE(svg.find("70.0,266.0 540.0,104.0 "), std::string::npos) << svg;
}

}  // namespace
}  // namespace s3d::cli
