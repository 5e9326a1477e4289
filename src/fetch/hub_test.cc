#include "fetch/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fetch/test_server.h"

namespace s3d {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(HubReferenceTest, ParsesWithAndWithoutFile) {
  Result<HubReference> reference = parse_hub_reference("hf:Qwen/Qwen2.5-0.5B-GGUF:sub/q4_0.gguf");
  ASSERT_TRUE(reference.ok()) << reference.error().message;
  EXPECT_EQ(reference->user, "Qwen");
  EXPECT_EQ(reference->repo, "Qwen2.5-0.5B-GGUF");
  EXPECT_EQ(reference->file, "sub/q4_0.gguf");
  reference = parse_hub_reference("user/repo");
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(reference->file, "");
}

TEST(HubReferenceTest, RefusesWhatIsNoReference) {
  for (const char* text : {"", "hf:", "hf:user", "hf:user/", "hf:/repo", "hf:a/b/c", "hf:user/repo:", "hf:../repo",
                           "hf:user/repo:../x", "hf:user/repo:/x", "hf:user/repo:a//b", "hf:user/re\npo"}) {
    EXPECT_FALSE(parse_hub_reference(text).ok()) << text;
  }
}

TEST(HubSplitTest, NamesAllParts) {
  EXPECT_THAT(split_parts("m-00002-of-00003.gguf"),
              ElementsAre("m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"));
  EXPECT_THAT(split_parts("m.gguf"), ElementsAre("m.gguf"));
  EXPECT_THAT(split_parts("m-00004-of-00003.gguf"), ElementsAre("m-00004-of-00003.gguf"));
  EXPECT_THAT(split_parts("m-00001-of-99999.gguf"), ElementsAre("m-00001-of-99999.gguf"));
}

class HubTest : public testing::Test {
 protected:
  Result<std::vector<DownloadedFile>> pull_repo(const std::string& repo, const std::string& file = "") const {
    PullRequest request;
    request.reference = {"user", repo, file};
    request.folder = folder_.path();
    request.base_url = server_.url();
    request.attempts = 2;
    request.retry_delay = std::chrono::milliseconds(1);
    return pull(request);
  }

  TestServer server_;
  TestFolder folder_;
};

TEST_F(HubTest, FetchesTheOnlyFile) {
  const auto files = pull_repo("one");
  ASSERT_TRUE(files.ok()) << files.error().message;
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ(files->front().path, folder_ / "user/one/model.gguf");
  EXPECT_EQ(read_all(files->front().path), TestServer::content());
}

TEST_F(HubTest, FetchesTheNamedFileAndEscapesIt) {
  const auto files = pull_repo("any", "sub folder/a#b.gguf");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->front().path, folder_ / "user/any/sub folder/a#b.gguf");
  EXPECT_THAT(server_.log(), HasSubstr("/user/any/resolve/main/sub folder/a#b.gguf"));
}

TEST_F(HubTest, PrefersTheUsualType) {
  const auto files = pull_repo("many");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->front().path, folder_ / "user/many/a-q4_k_m.gguf");
}

TEST_F(HubTest, FetchesAllPartsOfASplitModel) {
  const auto files = pull_repo("split");
  ASSERT_TRUE(files.ok()) << files.error().message;
  ASSERT_EQ(files->size(), 3u);
  EXPECT_EQ(files->front().path, folder_ / "user/split/m-00001-of-00003.gguf");
}

TEST_F(HubTest, ListsTheFilesWhenTheChoiceIsUnclear) {
  const auto files = pull_repo("unclear");
  ASSERT_FALSE(files.ok());
  EXPECT_THAT(files.error().message, HasSubstr("a-Q4_0.gguf, a-Q8_0.gguf"));
}

TEST_F(HubTest, ReportsRepositoriesWithoutModels) {
  EXPECT_THAT(pull_repo("empty").error().message, HasSubstr("no GGUF file"));
  EXPECT_THAT(pull_repo("absent").error().message, HasSubstr("no such repository"));
  EXPECT_THAT(pull_repo("broken").error().message, HasSubstr("JSON array"));
}

TEST_F(HubTest, IgnoresPathsThatLeaveTheFolder) {
  const auto files = pull_repo("hostile");
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->front().path, folder_ / "user/hostile/ok.gguf");
}

}  // namespace
}  // namespace s3d
