#include "http/request_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d::http {
namespace {

using State = RequestParser::State;

// What a connection would see: every request of `bytes`, and the failure at the end, if there is one.
struct Parsed {
  std::vector<Request> requests;
  int status = 0;  // of the failure
  std::string message;
  size_t rest = 0;  // bytes that were not taken
  bool operator==(const Parsed& other) const {
    const auto same = [](const Request& a, const Request& b) {
      return a.method == b.method && a.path == b.path && a.query == b.query && a.body == b.body &&
             a.headers.size() == b.headers.size() && a.keep_alive == b.keep_alive;
    };
    return status == other.status && message == other.message && requests.size() == other.requests.size() &&
           std::equal(requests.begin(), requests.end(), other.requests.begin(), same);
  }
};

// `part`: how many bytes come at a time.
Parsed parse(std::string_view bytes, size_t part = 1 << 20, ParserLimits limits = {}) {
  RequestParser parser(limits);
  Parsed parsed;
  std::string waiting;
  while (!bytes.empty() || !waiting.empty()) {
    const std::string_view next = bytes.substr(0, part);
    bytes.remove_prefix(next.size());
    waiting += next;
    while (true) {
      waiting.erase(0, parser.feed(waiting));
      if (parser.state() == State::kHeadRead) parser.accept_body();
      if (parser.state() == State::kDone) {
        parsed.requests.push_back(parser.take());
        continue;
      }
      if (parser.state() != State::kBody || waiting.empty()) break;
    }
    if (parser.state() == State::kFailed) break;
    EXPECT_TRUE(waiting.empty());
  }
  parsed.rest = waiting.size();
  if (parser.state() == State::kFailed) {
    parsed.status = parser.failure().status;
    parsed.message = parser.failure().message;
  }
  return parsed;
}

std::string post(const std::string& fields, const std::string& body) {
  return "POST /x HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}

TEST(RequestParserTest, ReadsARequestWithoutABody) {
  const Parsed parsed = parse("GET /a%20b?c=1 HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nAccept: \t text/html \t\r\n\r\n");
  ASSERT_EQ(parsed.requests.size(), 1U) << parsed.message;
  const Request& request = parsed.requests[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/a%20b?c=1");
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query, "c=1");
  EXPECT_EQ(*request.headers.find("accept"), "text/html");
  EXPECT_EQ(*request.headers.find("X-EMPTY"), "");
  EXPECT_EQ(request.body, "");
  EXPECT_TRUE(request.keep_alive);
}

TEST(RequestParserTest, ReadsABodyOfAKnownLength) {
  const std::string body("ab\0cd", 5);
  EXPECT_EQ(parse(post("Content-Length: 5\r\n", body.substr(0, 4))).requests.size(), 0U);
  const Parsed parsed = parse(post("Content-Length: 5\r\n", body));
  ASSERT_EQ(parsed.requests.size(), 1U) << parsed.message;
  EXPECT_EQ(parsed.requests[0].body, body);
}

TEST(RequestParserTest, ReadsChunksExtensionsAndTrailers) {
  const Parsed parsed =
      parse(post("Transfer-Encoding: Chunked\r\n",
                 "3\r\nabc\r\n0A;name=\"v;x\";y\r\n0123456789\r\n1 ; z\r\n\n\r\n0\r\nChecksum: 1\r\n\r\n"));
  ASSERT_EQ(parsed.requests.size(), 1U) << parsed.message;
  EXPECT_EQ(parsed.requests[0].body, "abc0123456789\n");
  EXPECT_EQ(parsed.requests[0].headers.find("Checksum"), nullptr);
}

TEST(RequestParserTest, PipelinedRequestsComeInOrder) {
  const Parsed parsed =
      parse(post("Content-Length: 2\r\n", "ab") + post("Transfer-Encoding: chunked\r\n", "1\r\nc\r\n0\r\n\r\n") +
            "\r\n" + "GET /last HTTP/1.0\r\n\r\n");
  ASSERT_EQ(parsed.requests.size(), 3U) << parsed.message;
  EXPECT_EQ(parsed.requests[0].body, "ab");
  EXPECT_EQ(parsed.requests[1].body, "c");
  EXPECT_EQ(parsed.requests[2].path, "/last");
  EXPECT_FALSE(parsed.requests[2].keep_alive);
}

TEST(RequestParserTest, KnowsWhoKeepsTheConnection) {
  const auto keeps = [](const std::string& head) { return parse(head + "\r\n").requests.at(0).keep_alive; };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: a\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n"));
}

TEST(RequestParserTest, StopsBehindTheHead) {
  RequestParser parser(ParserLimits{});
  const std::string bytes = post("Content-Length: 2\r\nExpect: 100-Continue\r\n", "ab");
  EXPECT_EQ(parser.feed(bytes), bytes.size() - 2);
  EXPECT_EQ(parser.state(), State::kHeadRead);
  EXPECT_TRUE(parser.expects_continue());
  EXPECT_TRUE(parser.has_body());
  EXPECT_EQ(parser.head().path, "/x");
  EXPECT_EQ(parser.feed("ab"), 0U);
  parser.accept_body();
  EXPECT_EQ(parser.feed("abGET"), 2U);
  EXPECT_EQ(parser.state(), State::kDone);
}

struct Malformed {
  const char* what;
  std::string bytes;
  int status;
};

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n";

std::vector<Malformed> malformed_requests() {
  return {
      {"no target", "GET HTTP/1.1\r\n\r\n", 400},
      {"one word", "GET\r\n\r\n", 400},
      {"two blanks", "GET  / HTTP/1.1\r\n\r\n", 400},
      {"words behind the version", "GET / HTTP/1.1 x\r\n\r\n", 400},
      {"lower case version", "GET / http/1.1\r\n\r\n", 400},
      {"version of one digit", "GET / HTTP/1\r\n\r\n", 400},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", 505},
      {"a method that nobody knows", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"methods have case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"a method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
      {"a wrong escape", "GET /%g0 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"an encoded zero", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"above the root", "GET /%2e%2E/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", kGet + "host: b\r\n\r\n", 400},
      {"no CR", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"a CR in a line", "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n", 400},
      {"two CRs", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
      {"a zero byte in a value", kGet + std::string("x: a\0b\r\n\r\n", 10), 400},
      {"a zero byte in the line", std::string("GET /\0 HTTP/1.1\r\n\r\n", 19), 400},
      {"a bell in a value", kGet + "x: a\ab\r\n\r\n", 400},
      {"obs-fold", kGet + "x: a\r\n b\r\n\r\n", 400},
      {"a blank before the colon", kGet + "x : a\r\n\r\n", 400},
      {"no colon", kGet + "x\r\n\r\n", 400},
      {"no name", kGet + ": a\r\n\r\n", 400},
      {"both framings", kGet + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"both framings, other order", kGet + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
      {"two lengths", kGet + "Content-Length: 3\r\ncontent-length: 3\r\n\r\n", 400},
      {"a list of lengths", kGet + "Content-Length: 3, 3\r\n\r\n", 400},
      {"a negative length", kGet + "Content-Length: -1\r\n\r\n", 400},
      {"a signed length", kGet + "Content-Length: +1\r\n\r\n", 400},
      {"a hexadecimal length", kGet + "Content-Length: 0x1\r\n\r\n", 400},
      {"an empty length", kGet + "Content-Length:\r\n\r\n", 400},
      {"a length beyond 64 bits", kGet + "Content-Length: 18446744073709551617\r\n\r\n", 400},
      {"too large a length", kGet + "Content-Length: 99999999999\r\n\r\n", 413},
      {"another coding", kGet + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"two codings", kGet + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
      {"a coding that only looks like one", kGet + "Transfer-Encoding: chunked;x\r\n\r\n", 501},
      {"chunked HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"another expectation", kGet + "Expect: more\r\n\r\n", 417},
  };
}

std::vector<Malformed> malformed_chunks() {
  const auto chunked = [](const std::string& body) { return post("Transfer-Encoding: chunked\r\n", body); };
  return {
      {"no size", chunked("\r\nabc\r\n"), 400},
      {"a size that is no number", chunked("x\r\n"), 400},
      {"a negative size", chunked("-1\r\n"), 400},
      {"0x", chunked("0x3\r\nabc\r\n"), 400},
      {"words behind the size", chunked("3 3\r\nabc\r\n"), 400},
      {"a size beyond 64 bits", chunked("11111111111111111\r\n"), 413},
      {"a size beyond the limit", chunked("FFFFFFFF\r\n"), 413},
      {"a chunk that is too long", chunked("3\r\nabcd\r\n0\r\n\r\n"), 400},
      {"a chunk that is too short", chunked("3\r\nab\r\n0\r\n\r\n"), 400},
      {"LF alone behind a size", chunked("3\nabc\r\n"), 400},
      {"LF alone behind a chunk", chunked("3\r\nabc\n0\r\n\r\n"), 400},
      {"an extension without end", chunked("3;" + std::string(300, 'x')), 400},
      {"a zero byte in an extension", chunked(std::string("3;\0\r\nabc\r\n", 10)), 400},
      {"a trailer that is no field", chunked("0\r\nx y\r\n\r\n"), 400},
      {"trailers without end", chunked("0\r\n" + std::string(17 << 10, 'x')), 431},
  };
}

TEST(RequestParserTest, RefusesWhatIsMalformed) {
  auto cases = malformed_requests();
  for (Malformed& chunks : malformed_chunks()) cases.push_back(std::move(chunks));
  for (const Malformed& c : cases) {
    const Parsed parsed = parse(c.bytes);
    EXPECT_EQ(parsed.status, c.status) << c.what << ": " << parsed.message;
    EXPECT_TRUE(parsed.requests.empty()) << c.what;
  }
}

// Where the network cuts the bytes must not matter.
TEST(RequestParserTest, TheSameInPartsOfAnySize) {
  auto cases = malformed_requests();
  for (Malformed& chunks : malformed_chunks()) cases.push_back(std::move(chunks));
  cases.push_back({"two", post("Transfer-Encoding: chunked\r\n", "2;x\r\nab\r\n0\r\nx: y\r\n\r\n") + kGet + "\r\n", 0});
  cases.push_back({"length", post("Content-Length: 4\r\n", "abcd") + "\r\n\r\n" + kGet + "\r\n", 0});
  for (const Malformed& c : cases) {
    const Parsed whole = parse(c.bytes);
    for (const size_t part : {1, 2, 3, 7, 16}) EXPECT_EQ(parse(c.bytes, part), whole) << c.what << ", " << part;
  }
}

TEST(RequestParserTest, LimitsOfTheHead) {
  ParserLimits limits;
  limits.head = 60;
  limits.headers = 2;
  EXPECT_EQ(parse("GET /" + std::string(60, 'x'), 1 << 20, limits).status, 414);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nHost: " + std::string(60, 'x'), 1 << 20, limits).status, 431);
  EXPECT_EQ(parse(kGet + "a: b\r\nc: d\r\n\r\n", 1 << 20, limits).status, 431);
  EXPECT_EQ(parse(kGet + "a: b\r\n\r\n", 1 << 20, limits).requests.size(), 1U);
  // The limit is for one request, not for a connection.
  EXPECT_EQ(parse(kGet + "a: b\r\n\r\n" + kGet + "a: b\r\n\r\n", 1 << 20, limits).requests.size(), 2U);
}

TEST(RequestParserTest, LimitOfTheBody) {
  ParserLimits limits;
  limits.body = 4;
  EXPECT_EQ(parse(post("Content-Length: 5\r\n", ""), 1 << 20, limits).status, 413);
  EXPECT_EQ(parse(post("Content-Length: 4\r\n", "abcd"), 1 << 20, limits).requests.size(), 1U);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n3\r\n"), 1 << 20, limits).status, 413);
  EXPECT_EQ(
      parse(post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), 1 << 20, limits).requests.size(),
      1U);
}

TEST(RequestParserTest, ExtensionsOfAllChunksAreCounted) {
  std::string body;
  for (int i = 0; i < 100; ++i) body += "1;" + std::string(200, 'x') + "\r\na\r\n";
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", body)).status, 400);
}

TEST(RequestParserTest, NothingIsTakenBehindAFailure) {
  RequestParser parser(ParserLimits{});
  parser.feed("x\r\n");
  ASSERT_EQ(parser.state(), State::kFailed);
  EXPECT_EQ(parser.feed("GET / HTTP/1.1\r\n"), 0U);
}

}  // namespace
}  // namespace s3d::http
