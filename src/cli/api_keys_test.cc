#include "cli/api_keys.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_folder.h"

namespace s3d::cli {
namespace {

TEST(ApiKeysTest, ReadsListsAndFiles) {
  const TestFolder folder;
  const std::string file = folder / "keys";
  std::ofstream(file) << "# of the team\r\n\r\n three \r\nfour,five\n";
  const auto keys = ApiKeys::read({"one, two", "zero"}, file);
  ASSERT_TRUE(keys.ok()) << keys.error().message;
  EXPECT_EQ(keys->find("one"), 0);
  EXPECT_EQ(keys->find("two"), 1);
  EXPECT_EQ(keys->find("zero"), 2);
  EXPECT_EQ(keys->find("three"), 3);
  EXPECT_EQ(keys->find("four,five"), 4) << "a comma separates keys on the command line only";
  for (const char* wrong : {"", "o", "on", "onee", "oneone", "One", "# of the team"})
    EXPECT_FALSE(keys->find(wrong)) << wrong;
}

TEST(ApiKeysTest, RefusesWhatCanNotBeMeant) {
  EXPECT_FALSE(ApiKeys::read({""}, "").ok());
  EXPECT_FALSE(ApiKeys::read({","}, "").ok());
  EXPECT_FALSE(ApiKeys::read({"two words"}, "").ok());
  EXPECT_FALSE(ApiKeys::read({}, "/no/such/file").ok());
  const TestFolder folder;
  const std::string file = folder / "keys";
  std::ofstream(file) << "# nothing\n";
  EXPECT_FALSE(ApiKeys::read({}, file).ok()) << "an empty file must not open the server to everybody";
  EXPECT_TRUE(ApiKeys::read({}, "")->empty());
}

TEST(ApiKeysTest, FindsTheKeyInTheHeaders) {
  EXPECT_EQ(sent_key({{"Authorization", "Bearer abc"}}), "abc");
  EXPECT_EQ(sent_key({{"authorization", "bearer  abc"}}), "abc");
  EXPECT_EQ(sent_key({{"X-Api-Key", "abc"}}), "abc");
  EXPECT_EQ(sent_key({{"api-key", "abc"}}), "abc");
  EXPECT_EQ(sent_key({{"Authorization", "Bearer abc"}, {"api-key", "other"}}), "abc");
  EXPECT_EQ(sent_key({{"Authorization", "Basic abc"}}), "");
  EXPECT_EQ(sent_key({{"Authorization", "Basic abc"}, {"x-api-key", "other"}}), "other");
  EXPECT_EQ(sent_key({}), "");
}

}  // namespace
}  // namespace s3d::cli
