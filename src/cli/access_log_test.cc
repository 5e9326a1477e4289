#include "cli/access_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace s3d::cli {
namespace {

http::Finished some_request() {
  return {.id = "req-1",
          .peer = "127.0.0.1:5",
          .method = "POST",
          .path = "/v1/x",
          .status = 200,
          .sent = 12,
          .seconds = 0.25};
}

TEST(AccessLogTest, ALineHasWhoWhatAndHowLong) {
  EXPECT_EQ(log_line(some_request(), 0), "1970-01-01T00:00:00Z 127.0.0.1:5 POST /v1/x 200 12 bytes 0.250 s req-1\n");
}

TEST(AccessLogTest, NothingFromOutsideBeginsALine) {
  http::Finished finished = some_request();
  finished.path =
      "/a\xc2\x9b"
      "31m";  // a control character in UTF-8
  finished.client_left = true;
  const std::string line = log_line(finished, 0);
  EXPECT_EQ(line.find("\xc2\x9b"), std::string::npos);
  EXPECT_NE(line.find(" client left\n"), std::string::npos);
  EXPECT_NE(log_line({}, 0).find(" - - 0 0 bytes"), std::string::npos);
}

TEST(AccessLogTest, WritesEveryLineBeforeItEnds) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  {
    AccessLog log(ends[1]);
    for (int i = 0; i < 100; ++i) log.add(some_request());
  }
  close(ends[1]);
  std::string all;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
    all.append(buffer.data(), static_cast<size_t>(n));
  close(ends[0]);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 100);
}

TEST(AccessLogTest, AReaderThatDoesNotReadHoldsNobodyUp) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  {
    AccessLog log(ends[1]);
    for (int i = 0; i < 30'000; ++i) log.add(some_request());
  }  // ends, though the pipe is full
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace s3d::cli
