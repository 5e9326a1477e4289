#include "serve/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> all(FairQueue<std::string>& queue) {
  std::vector<std::string> items;
  while (queue.size() > 0) items.push_back(queue.pop());
  return items;
}

TEST(FairQueue, ClientsTakeTurns) {
  FairQueue<std::string> queue;
  for (const char* item : {"a1", "a2", "a3", "a4"}) queue.push("a", item);
  queue.push("b", "b1");
  EXPECT_EQ(queue.pop(), "a1");
  queue.push("c", "c1");  // after everybody who waits already
  queue.push("b", "b2");
  EXPECT_EQ(queue.waiting("a"), 3U);
  EXPECT_THAT(all(queue), ElementsAre("b1", "a2", "c1", "b2", "a3", "a4"));
}

TEST(FairQueue, OneWhoComesAgainHasNoAdvantage) {
  FairQueue<std::string> queue;
  for (const char* item : {"a1", "a2"}) queue.push("a", item);
  queue.push("b", "b1");
  queue.pop();
  EXPECT_EQ(queue.pop(), "b1");
  queue.push("b", "b2");
  EXPECT_THAT(all(queue), ElementsAre("a2", "b2"));
}

TEST(FairQueue, TheGreediestMakesRoom) {
  FairQueue<std::string> queue;
  for (const char* item : {"a1", "a2", "a3"}) queue.push("a", item);
  EXPECT_FALSE(queue.displace("a").has_value());
  EXPECT_EQ(queue.displace("b")->item, "a3");
  queue.push("a", "a3");
  EXPECT_FALSE(queue.displace("b", 2).has_value());  // with two more of its own it has its share
  EXPECT_EQ(queue.displace("b", 1)->client, "a");
  queue.push("b", "b1");
  EXPECT_FALSE(queue.displace("b").has_value());  // two and one: no more to be had
  EXPECT_EQ(queue.displace("c")->item, "a2");
  queue.push("c", "c1");
  EXPECT_FALSE(queue.displace("d").has_value());  // everybody has one
  EXPECT_EQ(queue.size(), 3);
  EXPECT_THAT(all(queue), ElementsAre("a1", "b1", "c1"));
}

TEST(FairQueue, GivesUpWhatIsNotWantedAnyMore) {
  FairQueue<std::string> queue;
  queue.push("a", "a1");
  queue.push("b", "b1");
  EXPECT_EQ(queue.remove([](const std::string& item) { return item == "a1"; }), "a1");
  EXPECT_FALSE(queue.remove([](const std::string& item) { return item == "a1"; }).has_value());
  EXPECT_EQ(queue.waiting("a"), 0U);
  EXPECT_THAT(all(queue), ElementsAre("b1"));
}

}  // namespace
}  // namespace s3d::serve
