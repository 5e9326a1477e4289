#include "engine/model_path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace s3d {
namespace {
namespace fs = std::filesystem;

class ModelPathTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("s3d_model_path_" + std::to_string(getpid()));
    fs::create_directories(folder_ / "models");
    for (const char* name : {"zebra.gguf", "ant.gguf", "ant.gguf.partial"})
      std::ofstream(folder_ / "models" / name) << "x";
    setenv("S3D_CACHE", folder_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("S3D_CACHE");
    fs::remove_all(folder_);
  }
  fs::path folder_;
};

TEST_F(ModelPathTest, FindsAPathAndAName) {
  const std::string path = (folder_ / "models" / "ant.gguf").string();
  EXPECT_EQ(find_model(path).value(), path);
  EXPECT_EQ(find_model("ant").value(), path);
  EXPECT_EQ(cached_models(), (std::vector<std::string>{"ant", "zebra"}));
}

TEST_F(ModelPathTest, TheErrorListsWhatThereIs) {
  const std::string message = find_model("bee").error().message;
  EXPECT_NE(message.find("'bee'"), std::string::npos) << message;
  EXPECT_NE(message.find("ant, zebra"), std::string::npos) << message;
  EXPECT_FALSE(find_model("").ok());
  EXPECT_FALSE(find_model("models/ant").ok());
  fs::remove_all(folder_ / "models");
  EXPECT_NE(find_model("bee").error().message.find("no model yet"), std::string::npos);
}

TEST_F(ModelPathTest, TheCacheFolderFollowsXdg) {
  EXPECT_EQ(cache_folder(), folder_.string());
  unsetenv("S3D_CACHE");
  setenv("XDG_CACHE_HOME", "/some/where", 1);
  EXPECT_EQ(cache_folder(), "/some/where/s3d");
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(cache_folder(), std::string(getenv("HOME")) + "/.cache/s3d");
  unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace s3d
