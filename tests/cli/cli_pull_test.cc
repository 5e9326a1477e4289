// s3d pull against a hub on this machine.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "fetch/test_server.h"
#include "program_runner.h"

namespace s3d::test {
namespace {
namespace fs = std::filesystem;

class CliPullTest : public testing::Test {
 protected:
  void SetUp() override {
    cache_ = fs::path(testing::TempDir()) / ("s3d_pull_" + std::to_string(getpid()));
    environment_ = {
        {"S3D_CACHE", cache_.string()}, {"HF_ENDPOINT", server_.url() + "/\n"}, {"HF_TOKEN", " secret\r\n"}};
  }
  void TearDown() override { fs::remove_all(cache_); }

  Outcome pull(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all = {"pull"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_s3d(all, "", environment_);
  }

  TestServer server_;
  fs::path cache_;
  Environment environment_;
};

TEST_F(CliPullTest, TheLastLineIsThePathInTheCacheFolder) {
  const Outcome o = pull({"hf:user/one"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, (cache_ / "models/user/one/model.gguf").string() + "\n");
  EXPECT_TRUE(fs::exists(cache_ / "models/user/one/model.gguf"));
  EXPECT_NE(server_.log().find("Bearer secret"), std::string::npos);
  const auto j = pull({"hf:user/one", "--json"}).json();
  EXPECT_EQ(j["files"][0]["bytes"], 300000);
  // The name is found again, and what is in the file is then its own problem.
  const Outcome found = run_s3d({"inspect", "user/one/model.gguf"}, "", environment_);
  EXPECT_NE(found.err.find("models/user/one/model.gguf"), std::string::npos) << found.err;
}

TEST_F(CliPullTest, WhatIsNotThereIsAnError) {
  const Outcome o = pull({"hf:user/absent"});
  EXPECT_EQ(o.code, 1);
  EXPECT_EQ(o.err.rfind("s3d: error: ", 0), 0U) << o.err;
  EXPECT_EQ(o.out, "");
}

}  // namespace
}  // namespace s3d::test
