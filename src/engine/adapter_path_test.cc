#include "engine/adapter_path.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/test_folder.h"

namespace s3d {
namespace {

namespace fs = std::filesystem;
using Folders = std::vector<std::string>;

TEST(AdapterFolders, OfAnInstallation) {
  const TestFolder folder;
  fs::create_directories(folder / "share/s3d/adapters");
  const Folders expected = {folder / "share/s3d/adapters"};
  EXPECT_EQ(adapter_folders_near(folder / "bin/s3d"), expected);
  EXPECT_EQ(adapter_folders_near(folder / "lib/x86_64-linux-gnu/libs3d.so.0.1"), expected);
}

TEST(AdapterFolders, OfASourceTreeThatHoldsTheBuildFolder) {
  const TestFolder folder;
  fs::create_directories(folder / "adapters");
  EXPECT_EQ(adapter_folders_near(folder / "build/src/cli/s3d"), Folders{}) << "a folder without index.json is not ours";
  std::ofstream(folder / "adapters/index.json") << "{}";
  EXPECT_EQ(adapter_folders_near(folder / "build/src/cli/s3d"), Folders{folder / "adapters"});
  EXPECT_EQ(adapter_folders_near(folder / "1/2/3/4/5/s3d"), Folders{}) << "too far away";
}

TEST(AdapterFolders, NoneForAnUnknownBinary) {
  EXPECT_EQ(adapter_folders_near(""), Folders{});
}

TEST(AdapterFolders, TheEnvironmentComesFirst) {
  const TestFolder folder;
  ASSERT_EQ(setenv("S3D_ADAPTERS", folder.path().c_str(), 1), 0);
  const Folders folders = adapter_folders();
  unsetenv("S3D_ADAPTERS");
  ASSERT_FALSE(folders.empty());
  EXPECT_EQ(folders.front(), folder.path());
}

}  // namespace
}  // namespace s3d
