#include "cli/serve_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace s3d::cli {
namespace {

using ::testing::HasSubstr;
using Phase = ServeGate::Phase;

class FakeResponder : public http::Responder {
 public:
  void send(int status, http::Headers headers, std::string body) override {
    reply = {status, std::move(headers), std::move(body)};
  }
  void begin(int status, http::Headers headers) override { reply = {status, std::move(headers), ""}; }
  bool write(std::string_view chunk) override {
    reply.body += chunk;
    return true;
  }
  void end() override {}
  void on_closed(std::function<void()>) override {}
  bool closed() const override { return false; }
  size_t buffered() const override { return 0; }

  http::Reply reply{.status = 0};
};

class ServeGateTest : public ::testing::Test {
 protected:
  ServeGate& gate(GateOptions options = {}, Phase phase = Phase::kServing) {
    options.is_page = [](std::string_view path) { return path == "/"; };
    gate_ = std::make_unique<ServeGate>(std::move(options), [this](http::Request, std::shared_ptr<http::Responder> r) {
      reached_.push_back(std::move(r));
    });
    gate_->enter(phase);
    return *gate_;
  }
  static GateOptions with_key(const char* key) {
    GateOptions options;
    options.keys = *ApiKeys::read({key}, "");
    return options;
  }
  static http::Request request(std::string method, std::string path, http::Headers headers = {}) {
    return {.method = std::move(method), .path = std::move(path), .headers = std::move(headers), .peer = "1.2.3.4:5"};
  }
  // The status that a request gets before it reaches the routes; 0: it reaches them.
  int status(const http::Request& head) const {
    const auto reply = gate_->on_head(head);
    return reply ? reply->status : 0;
  }
  int post_status(http::Headers headers = {}) {
    auto responder = std::make_shared<FakeResponder>();
    gate_->handle(request("POST", "/v1/completions", std::move(headers)), responder);
    return responder->reply.status;
  }

  std::unique_ptr<ServeGate> gate_;
  std::vector<std::shared_ptr<http::Responder>> reached_;
};

TEST_F(ServeGateTest, WithoutKeysEverybodyMayAsk) {
  gate();
  EXPECT_EQ(status(request("POST", "/v1/chat/completions")), 0);
  EXPECT_EQ(status(request("POST", "/v1/chat/completions", {{"Authorization", "Bearer any"}})), 0);
}

TEST_F(ServeGateTest, AKeyIsNeededButForHealthPageAndOptions) {
  gate(with_key("secret"));
  for (const char* path : {"/v1/chat/completions", "/v1/models", "/metrics", "/api/tags", "/health/x"}) {
    EXPECT_EQ(status(request("POST", path)), 401) << path;
    EXPECT_EQ(status(request("POST", path, {{"Authorization", "Bearer wrong"}})), 401) << path;
    EXPECT_EQ(status(request("POST", path, {{"Authorization", "Bearer secret"}})), 0) << path;
    EXPECT_EQ(status(request("POST", path, {{"X-Api-Key", "secret"}})), 0) << path;
    EXPECT_EQ(status(request("POST", path, {{"api-key", "secret"}})), 0) << path;
    EXPECT_EQ(status(request("OPTIONS", path)), 204) << path;
  }
  for (const char* path : {"/health", "/v1/health", "/"}) EXPECT_EQ(status(request("GET", path)), 0) << path;
}

TEST_F(ServeGateTest, SpeaksTheInterfaceOfThePath) {
  gate(with_key("secret"));
  EXPECT_EQ(gate_->on_head(request("POST", "/api/chat"))->body, R"({"error":"Invalid API Key"})");
  EXPECT_EQ(gate_->on_head(request("POST", "/v1/models"))->body,
            R"({"error":{"code":401,"message":"Invalid API Key","type":"authentication_error","param":null}})");
}

TEST_F(ServeGateTest, SaysThatTheModelIsBeingLoaded) {
  gate({}, Phase::kLoading);
  const auto reply = gate_->on_head(request("GET", "/health"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 503);
  EXPECT_THAT(reply->body, HasSubstr(R"("code":503,"message":"Loading model","type":"unavailable_error")"));
  EXPECT_EQ(reply->headers.value_or("Retry-After", ""), "2");
  EXPECT_EQ(reply->headers.count("Retry-After"), 1);
  EXPECT_EQ(status(request("POST", "/v1/completions")), 503);
  EXPECT_EQ(status(request("GET", "/")), 0) << "the page is there at once";
}

TEST_F(ServeGateTest, RefusesNewRequestsWhileItEnds) {
  gate({}, Phase::kDraining);
  for (const char* path : {"/health", "/v1/completions", "/"}) EXPECT_EQ(status(request("GET", path)), 503) << path;
}

TEST_F(ServeGateTest, TellsBrowsersWhoMayAsk) {
  gate();
  const auto reply = gate_->on_head(
      request("OPTIONS", "/v1/chat/completions", {{"Access-Control-Request-Headers", "authorization, content-type"}}));
  EXPECT_EQ(reply->headers.value_or("Access-Control-Allow-Origin", ""), "*");
  EXPECT_EQ(reply->headers.value_or("Access-Control-Allow-Headers", ""), "authorization, content-type");
  auto responder = std::make_shared<FakeResponder>();
  gate_->handle(request("GET", "/v1/models"), responder);
  reached_.at(0)->send(200, {{"Content-Type", "a"}}, "");
  EXPECT_EQ(responder->reply.headers.value_or("Access-Control-Allow-Origin", ""), "*");
  EXPECT_EQ(gate_->error_reply(400, "x").headers.value_or("Access-Control-Allow-Origin", ""), "*");

  GateOptions none;
  none.cors_origin = "";
  gate(std::move(none));
  EXPECT_EQ(gate_->on_head(request("OPTIONS", "/"))->headers.find("Access-Control-Allow-Origin"), nullptr);
}

TEST_F(ServeGateTest, LimitsTheRequestsOfOneKey) {
  GateOptions options;
  options.keys = *ApiKeys::read({"a,b"}, "");
  options.per_client = 2;
  gate(std::move(options));
  const http::Headers a = {{"Authorization", "Bearer a"}};
  const http::Headers b = {{"api-key", "b"}};
  EXPECT_EQ(post_status(a), 0);
  EXPECT_EQ(post_status(a), 0);
  EXPECT_EQ(post_status(a), 429);
  EXPECT_EQ(post_status({{"X-Api-Key", "a"}}), 429) << "however the key is sent";
  EXPECT_EQ(post_status(b), 0);
  reached_.at(0)->send(200, {}, "");
  EXPECT_EQ(post_status(a), 0) << "a whole answer makes room";
  EXPECT_EQ(post_status(a), 429);
  reached_.at(1)->begin(200, {});
  EXPECT_EQ(post_status(a), 429) << "half an answer does not";
  reached_.at(1)->end();
  EXPECT_EQ(post_status(a), 0);
  reached_.clear();
  EXPECT_EQ(post_status(a), 0) << "nor does a forgotten one keep it";
}

TEST_F(ServeGateTest, WithoutKeysTheLimitIsForAnAddress) {
  GateOptions options;
  options.per_client = 1;
  gate(std::move(options));
  EXPECT_EQ(post_status(), 0);
  EXPECT_EQ(post_status(), 429);
  auto responder = std::make_shared<FakeResponder>();
  http::Request other = request("POST", "/");
  other.peer = "[::1]:5";
  gate_->handle(std::move(other), responder);
  EXPECT_EQ(responder->reply.status, 0);
}

TEST_F(ServeGateTest, KeysThatNobodyChecksAreNotPassedOn) {
  const auto passed = [](GateOptions options) {
    std::string key;
    ServeGate gate(std::move(options), [&key](const http::Request& request, const std::shared_ptr<http::Responder>&) {
      key = request.headers.value_or("Authorization", "none");
    });
    gate.enter(Phase::kServing);
    gate.handle(request("POST", "/completion", {{"Authorization", "Bearer secret"}}),
                std::make_shared<FakeResponder>());
    return key;
  };
  EXPECT_EQ(passed({}), "");
  EXPECT_EQ(passed(with_key("secret")), "Bearer secret");
  GateOptions apart;
  apart.unknown_keys = true;  // --isolate-keys
  EXPECT_EQ(passed(std::move(apart)), "Bearer secret");
}

TEST_F(ServeGateTest, LimitsTheRequestsOfAnAddressInAMinute) {
  GateOptions options;
  options.per_minute = 2;
  ServeGate& with = gate(options);
  EXPECT_EQ(status(request("POST", "/completion")), 0);
  EXPECT_EQ(status(request("POST", "/completion")), 0);
  EXPECT_EQ(status(request("GET", "/health")), 0);
  const auto refused = with.on_head(request("POST", "/completion"));
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->status, 429);
  EXPECT_THAT(refused->body, HasSubstr("2 a minute"));
  EXPECT_NE(refused->headers.find("Retry-After"), nullptr);
  http::Request other = request("POST", "/completion");
  other.peer = "1.2.3.5:5";
  EXPECT_EQ(status(other), 0);
}

}  // namespace
}  // namespace s3d::cli
