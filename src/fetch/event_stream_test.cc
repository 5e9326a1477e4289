#include "fetch/event_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace s3d {
namespace {

using testing::ElementsAre;

std::vector<std::string> events_of(std::string_view text, size_t step) {
  EventStream stream;
  std::vector<std::string> all;
  for (size_t at = 0; at < text.size(); at += step) {
    for (std::string& event : stream.push(text.substr(at, step))) all.push_back(std::move(event));
  }
  return all;
}

TEST(EventStreamTest, GivesEachEventOnce) {
  constexpr std::string_view kText = ": ping\n\ndata: {\"a\":1}\n\nevent: x\r\ndata:b\r\n\r\ndata: [DONE]\n\n";
  for (size_t step = 1; step <= kText.size(); ++step) {
    EXPECT_THAT(events_of(kText, step), ElementsAre("{\"a\":1}", "b", "[DONE]")) << step;
  }
}

TEST(EventStreamTest, JoinsLinesOfOneEvent) {
  EXPECT_THAT(events_of("data: one\ndata:\ndata: two\n\n", 100), ElementsAre("one\n\ntwo"));
}

TEST(EventStreamTest, AnEventThatIsNotWholeIsNone) {
  EXPECT_TRUE(events_of("data: one\n", 100).empty());
  EXPECT_TRUE(events_of("id: 1\nretry: 5\n\n", 100).empty());
}

}  // namespace
}  // namespace s3d
