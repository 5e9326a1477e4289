#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/test_client.h"

namespace s3d::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

std::string post(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Says what was asked.
void echo(Request request, std::shared_ptr<Responder> responder) {
  responder->send(200, {{"X-Method", request.method}}, request.path + "|" + request.body);
}

class ServerTest : public ::testing::Test {
 protected:
  void start(Handler handler = echo, ServerOptions options = {}) {
    options.port = 0;
    const auto count = [this](const Finished& finished) {
      const std::lock_guard lock(mutex_);
      finished_.push_back(finished);
    };
    options.on_finished = count;
    server_ = std::make_unique<HttpServer>(std::move(options), std::move(handler));
    const Status started = server_->start();
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  TestClient client(int receive_buffer = 0) { return TestClient(server_->port(), receive_buffer); }

  // Keeps every responder, and says when one came and when its client left.
  Handler keep() {
    return [this](Request /*request*/, std::shared_ptr<Responder> responder) {
      responder->on_closed([this] { left_.set_value(); });
      kept_.set_value(std::move(responder));
    };
  }
  std::shared_ptr<Responder> kept() { return kept_.get_future().get(); }
  bool has_left() { return left_.get_future().wait_for(60s) == std::future_status::ready; }

  std::vector<Finished> finished() {
    const std::lock_guard lock(mutex_);
    return finished_;
  }

  std::promise<std::shared_ptr<Responder>> kept_;
  std::promise<void> left_;
  std::mutex mutex_;
  std::vector<Finished> finished_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  start();
  TestClient c = client();
  c.send(get("/one"));
  const std::string first = c.answer();
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("\r\nX-Method: GET\r\n"));
  EXPECT_THAT(first, HasSubstr("\r\nDate: "));
  EXPECT_THAT(first, HasSubstr("\r\nx-request-id: req-"));
  EXPECT_THAT(first, Not(HasSubstr("Connection: ")));
  EXPECT_THAT(first, EndsWith("/one|"));
  c.send(post("text"));
  EXPECT_THAT(c.answer(), EndsWith("/|text"));
}

TEST_F(ServerTest, ClosesWhenTheClientAsksForIt) {
  start();
  TestClient c = client();
  c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(c.all(), HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  TestClient c = client();
  constexpr int kRequests = 3000;  // more than a stack would hold, were they answered in one another
  std::string all;
  for (int i = 0; i < kRequests; ++i) all += get("/" + std::to_string(i));
  std::thread sender([&] { c.send(all); });
  for (int i = 0; i < kRequests; ++i) ASSERT_THAT(c.answer(), EndsWith("/" + std::to_string(i) + "|"));
  sender.join();
}

// Answers come late and from other threads, in the order of the requests nevertheless.
TEST_F(ServerTest, PipelinedRequestsWaitForAnswersOfOtherThreads) {
  std::vector<std::thread> threads;
  start([&](Request request, std::shared_ptr<Responder> responder) {
    threads.emplace_back([request = std::move(request), responder = std::move(responder)]() mutable {
      echo(std::move(request), std::move(responder));
    });
  });
  TestClient c = client();
  c.send(get("/1") + get("/2") + get("/3"));
  for (const char* path : {"/1|", "/2|", "/3|"}) EXPECT_THAT(c.answer(), EndsWith(path));
  server_->stop();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ServerTest, TheSameByteByByte) {
  start();
  TestClient c = client();
  for (const char byte : post("text")) c.send(std::string_view(&byte, 1));
  EXPECT_THAT(c.answer(), EndsWith("/|text"));
}

TEST_F(ServerTest, StreamsInChunks) {
  start(keep());
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  responder->begin(200, {{"Content-Type", "text/event-stream"}});
  const std::string head = c.until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("\r\nTransfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Content-Length")));
  EXPECT_TRUE(responder->write("hello"));
  EXPECT_EQ(c.until("hello\r\n"), "5\r\nhello\r\n");  // has come before the next one is written
  EXPECT_TRUE(responder->write(""));
  EXPECT_TRUE(responder->write(std::string(17, 'x')));
  responder->end();
  EXPECT_EQ(c.until("0\r\n\r\n"), "11\r\n" + std::string(17, 'x') + "\r\n0\r\n\r\n");
  EXPECT_FALSE(responder->closed());
}

TEST_F(ServerTest, StreamsToTheEndOfTheConnectionForHttp10) {
  start(keep());
  TestClient c = client();
  c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto responder = kept();
  responder->begin(200, {});
  responder->write("hello");
  responder->end();
  const std::string all = c.all();
  EXPECT_THAT(all, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(all, Not(HasSubstr("chunked")));
  EXPECT_THAT(all, EndsWith("\r\n\r\nhello"));
}

TEST_F(ServerTest, HeadHasTheLengthAndNoBody) {
  start();
  TestClient c = client();
  c.send("HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(c.until("\r\n\r\n"), HasSubstr("\r\nContent-Length: 5\r\n"));
  c.send(get("/next"));
  EXPECT_THAT(c.answer(), StartsWith("HTTP/1.1 200"));  // and no body stood before it
}

TEST_F(ServerTest, NoContentHasNoLength) {
  start([](Request, std::shared_ptr<Responder> responder) { responder->send(204, {}, ""); });
  TestClient c = client();
  c.send(kGet);
  EXPECT_THAT(c.until("\r\n\r\n"), Not(HasSubstr("Content-Length")));
}

TEST_F(ServerTest, FieldsCannotBeInjected) {
  start([](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {{"X-A", "b\r\nX-Evil: 1"}, {"Content-Length", "99"}}, "");
  });
  TestClient c = client();
  c.send(kGet);
  const std::string answer = c.answer();
  EXPECT_THAT(answer, HasSubstr("\r\nX-A: b??X-Evil: 1\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("Content-Length: 99")));
}

TEST_F(ServerTest, NoticesThatTheClientLeft) {
  start(keep());
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  responder->begin(200, {});
  EXPECT_TRUE(responder->write("a"));
  c.leave();
  EXPECT_TRUE(has_left());
  EXPECT_TRUE(responder->closed());
  EXPECT_FALSE(responder->write("b"));
  responder->end();  // is let pass
  EXPECT_TRUE(server_->wait_idle(60s));
  EXPECT_TRUE(finished().at(0).client_left);
}

TEST_F(ServerTest, NoticesAResetBeforeAnythingWasAnswered) {
  start(keep());
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  c.leave_rudely();
  EXPECT_TRUE(has_left());
  bool called = false;
  responder->on_closed([&] { called = true; });
  EXPECT_TRUE(called) << "who asks too late is told at once";
  responder->send(200, {}, "nobody reads this");
}

TEST_F(ServerTest, AClientThatReadsNothingIsCutOff) {
  ServerOptions options;
  options.max_buffered = 100'000;
  start(keep(), options);
  TestClient c = client(/*receive_buffer=*/4096);
  c.send(kGet);
  const auto responder = kept();
  responder->begin(200, {});
  const std::string chunk(50'000, 'x');
  while (responder->write(chunk)) std::this_thread::yield();
  EXPECT_TRUE(has_left());
  EXPECT_EQ(responder->buffered(), 0U);
}

TEST_F(ServerTest, AClientThatReadsTooSlowlyIsCutOff) {
  ServerOptions options;
  options.rate_window = 50ms;
  start(keep(), options);
  TestClient c = client(/*receive_buffer=*/4096);
  c.send(kGet);
  const auto responder = kept();
  responder->send(200, {}, std::string(64 << 20, 'x'));
  EXPECT_TRUE(has_left());
}

TEST_F(ServerTest, ALongAnswerArrivesWhole) {
  std::string body;
  for (int i = 0; body.size() < (8 << 20); ++i) body += std::to_string(i) + ",";
  start([&](Request, std::shared_ptr<Responder> responder) { responder->send(200, {}, body); });
  TestClient c = client(/*receive_buffer=*/4096);
  c.send(kGet);
  const std::string answer = c.answer();
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + body));
}

TEST_F(ServerTest, ADroppedResponderLeaves500) {
  start([](Request, std::shared_ptr<Responder>) {});
  TestClient c = client();
  c.send(kGet);
  EXPECT_THAT(c.answer(), StartsWith("HTTP/1.1 500 Internal Server Error\r\n"));
  c.send(kGet);
  EXPECT_THAT(c.answer(), StartsWith("HTTP/1.1 500"));
}

TEST_F(ServerTest, AnAnswerThatIsDroppedInTheMiddleDoesNotLookWhole) {
  start(keep());
  TestClient c = client();
  c.send(kGet);
  auto responder = kept();
  responder->begin(200, {});
  responder->write("half");
  c.until("half");
  responder.reset();
  EXPECT_EQ(c.all(), "\r\n");  // of the chunk; no last one
}

TEST_F(ServerTest, AnAnswerThatDoesNotComeIsGivenUp) {
  ServerOptions options;
  options.answer_timeout = 50ms;
  start(keep(), options);
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  EXPECT_THAT(c.answer(), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  EXPECT_TRUE(has_left());
  responder->send(200, {}, "too late");
}

TEST_F(ServerTest, AnAnswerThatStopsComingIsCutOff) {
  ServerOptions options;
  options.answer_timeout = 50ms;
  start(keep(), options);
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  responder->begin(200, {});
  responder->write("half");
  EXPECT_THAT(c.all(), EndsWith("half\r\n"));
  EXPECT_TRUE(has_left());
}

TEST_F(ServerTest, SendsContinueToWhoWaitsForIt) {
  start();
  TestClient c = client();
  c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(c.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("ab");
  EXPECT_THAT(c.answer(), EndsWith("/|ab"));
}

TEST_F(ServerTest, RefusesBeforeTheBodyComes) {
  ServerOptions options;
  options.on_head = [](const Request& head) -> std::optional<Reply> {
    if (head.headers.find("Authorization") != nullptr) return std::nullopt;
    return Reply{401, {{"X-Why", "no key"}}, "who are you?"};
  };
  start(echo, options);
  TestClient c = client();
  c.send(kGet);
  EXPECT_THAT(c.answer(), EndsWith("who are you?"));
  c.send("GET /in HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\n\r\n");  // without a body, the connection goes on
  EXPECT_THAT(c.answer(), EndsWith("/in|"));
  c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(c.all(), StartsWith("HTTP/1.1 401 Unauthorized\r\n"));
}

TEST_F(ServerTest, WhoSendsTooMuchCanReadWhy) {
  ServerOptions options;
  options.max_body = 1000;
  start(echo, options);
  TestClient c = client();
  c.send(post(std::string(900'000, 'x')));  // sent to its end, though the answer is there from the start
  const std::string answer = c.all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 Content Too Large\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
}

TEST_F(ServerTest, RefusesWhatCouldBeSmuggled) {
  start();
  TestClient c = client();
  c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kGet);
  const std::string all = c.all();
  EXPECT_THAT(all, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_THAT(all, Not(HasSubstr("200 OK")));
}

TEST_F(ServerTest, BodiesOfAllClientsTogetherAreLimited) {
  ServerOptions options;
  options.max_bodies = 1000;
  start(echo, options);
  TestClient a = client();
  a.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 700\r\nExpect: 100-continue\r\n\r\n");
  a.until("\r\n\r\n");
  a.send(std::string(600, 'x'));
  TestClient b = client();
  std::string answer;
  do {  // the server may see the second client first
    b = client();
    b.send(post(std::string(500, 'y')));
    answer = b.answer();
  } while (answer.starts_with("HTTP/1.1 200"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  a.send(std::string(100, 'x'));
  EXPECT_THAT(a.answer(), StartsWith("HTTP/1.1 200"));
  b = client();
  b.send(post(std::string(500, 'y')));
  EXPECT_THAT(b.answer(), StartsWith("HTTP/1.1 200")) << "what was reserved is given back";
}

TEST_F(ServerTest, AHeaderThatDoesNotComeIsGivenUp) {
  ServerOptions options;
  options.header_timeout = 50ms;
  start(echo, options);
  TestClient silent = client();
  TestClient slow = client();
  slow.send("GET / HT");
  EXPECT_EQ(silent.all(), "");
  EXPECT_THAT(slow.all(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
}

TEST_F(ServerTest, ABodyThatComesTooSlowlyIsGivenUp) {
  ServerOptions options;
  options.rate_window = 50ms;
  start(echo, options);
  TestClient c = client();
  c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
  EXPECT_THAT(c.all(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
}

TEST_F(ServerTest, AnIdleConnectionEnds) {
  ServerOptions options;
  options.keep_alive_timeout = 50ms;
  start(echo, options);
  TestClient c = client();
  c.send(kGet);
  c.answer();
  EXPECT_EQ(c.all(), "");
}

TEST_F(ServerTest, AnIdleConnectionMakesRoomForANewOne) {
  ServerOptions options;
  options.max_connections = 2;
  start(echo, options);
  TestClient first = client();
  TestClient second = client();
  first.send(kGet);
  first.answer();
  second.send(kGet);
  second.answer();
  TestClient third = client();
  third.send(kGet);
  EXPECT_THAT(third.answer(), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(first.all(), "") << "the longest idle one";
  second.send(kGet);
  EXPECT_THAT(second.answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, BeyondTheLimitOfConnectionsIs503) {
  ServerOptions options;
  options.max_connections = 1;
  start(keep(), options);
  TestClient busy = client();
  busy.send(kGet);
  const auto responder = kept();
  TestClient second = client();
  EXPECT_THAT(second.all(), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  responder->send(200, {}, "");
  EXPECT_THAT(busy.answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, FiveHundredIdleConnectionsDisturbNobody) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 1200) GTEST_SKIP() << "a process may open too few files here";
  start();
  std::vector<TestClient> idle;
  for (int i = 0; i < 500; ++i) {
    idle.push_back(client());
    ASSERT_TRUE(idle.back().connected());
    if (i % 2 == 0) idle.back().send("GET / HTTP/1.1\r\nHost:");
  }
  TestClient c = client();
  c.send(kGet);
  EXPECT_THAT(c.answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, AnswersFromManyThreadsAtOnce) {
  std::mutex mutex;
  std::vector<std::thread> threads;
  start([&](Request request, std::shared_ptr<Responder> responder) {
    const std::lock_guard lock(mutex);
    threads.emplace_back([request = std::move(request), responder = std::move(responder)] {
      responder->begin(200, {});
      for (int i = 0; i < 100; ++i) responder->write(request.path + ";");
      responder->end();
    });
  });
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      TestClient c = client();
      c.send(get("/client-" + std::to_string(i)));
      const std::string answer = c.until("\r\n0\r\n\r\n");
      int words = 0;
      const std::string word = "/client-" + std::to_string(i) + ";";
      for (size_t at = answer.find(word); at != std::string::npos; at = answer.find(word, at + 1)) ++words;
      if (words == 100) ++right;
    });
  }
  for (std::thread& thread : clients) thread.join();
  server_->stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 16);
}

TEST_F(ServerTest, DrainingEndsKeepAliveAndLetsAnswersFinish) {
  start(keep());
  TestClient idle = client();
  TestClient busy = client();
  busy.send(kGet);
  const auto responder = kept();
  EXPECT_EQ(server_->running(), 1);
  EXPECT_FALSE(server_->wait_idle(0ms));
  server_->drain();
  EXPECT_EQ(idle.all(), "");
  responder->send(200, {}, "still");
  const std::string answer = busy.all();
  EXPECT_THAT(answer, EndsWith("still"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_TRUE(server_->wait_idle(60s));
  EXPECT_TRUE(client().connected()) << "whoever asks is told";
}

TEST_F(ServerTest, StoppingCutsOffWhatRuns) {
  start(keep());
  TestClient c = client();
  c.send(kGet);
  const auto responder = kept();
  server_->stop();
  EXPECT_TRUE(has_left());
  EXPECT_EQ(c.all(), "");
  EXPECT_FALSE(client().connected());
  server_.reset();
  responder->send(200, {}, "a responder may outlive its server");
}

TEST_F(ServerTest, TellsHowExchangesEnded) {
  start();
  TestClient c = client();
  c.send("POST /path?secret HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-id.7\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(c.answer(), HasSubstr("x-request-id: my-id.7\r\n"));
  c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: not plain\r\n\r\n");
  EXPECT_THAT(c.answer(), HasSubstr("x-request-id: req-"));
  c.send("nonsense\r\n");
  c.all();
  server_->stop();
  const auto all = finished();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].id, "my-id.7");
  EXPECT_EQ(all[0].method, "POST");
  EXPECT_EQ(all[0].path, "/path");
  EXPECT_EQ(all[0].status, 200);
  EXPECT_EQ(all[0].received, 3U);
  EXPECT_GT(all[0].sent, 50U);
  EXPECT_FALSE(all[0].client_left);
  EXPECT_THAT(all[0].peer, StartsWith("127.0.0.1:"));
  EXPECT_EQ(all[2].status, 400);
  EXPECT_EQ(all[2].method, "");
}

TEST_F(ServerTest, ErrorsLookAsTheOwnerWants) {
  ServerOptions options;
  options.error_reply = [](int status, std::string_view message) {
    return Reply{status, {{"Content-Type", "application/json"}}, "{" + std::string(message) + "}"};
  };
  start(echo, options);
  TestClient c = client();
  c.send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = c.all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 501 Not Implemented\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(answer, EndsWith("}"));
}

TEST(ServerStartTest, SaysWhyItCannotListen) {
  HttpServer first({.port = 0}, echo);
  ASSERT_TRUE(first.start().ok());
  HttpServer second({.port = first.port()}, echo);
  const Status busy = second.start();
  ASSERT_FALSE(busy.ok());
  EXPECT_THAT(busy.error().message, HasSubstr("127.0.0.1:" + std::to_string(first.port())));
  HttpServer third({.host = "256.256.256.256.invalid", .port = 0}, echo);
  EXPECT_THAT(third.start().error().message, HasSubstr("256.256.256.256.invalid"));
}

TEST(ServerStartTest, TellsItsAddress) {
  HttpServer server({.port = 0}, echo);
  ASSERT_TRUE(server.start().ok());
  EXPECT_EQ(server.url(), "http://127.0.0.1:" + std::to_string(server.port()));
}

}  // namespace
}  // namespace s3d::http
