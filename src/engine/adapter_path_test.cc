#include "engine/adapter_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/test_folder.h"
#include "model/drafter_file.h"

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

TEST(DraftFiles, AreFoundByTheirKindAndBase) {
  const TestFolder folder;
  fs::create_directories(folder / "more");
  const auto write = [&](const std::string& name, const std::string& kind, uint64_t fingerprint) {
    const auto image =
        drafter_image({.header = {.kind = kind, .base_fingerprint = fingerprint}}, {}, {}, GGML_TYPE_F32);
    ASSERT_TRUE(write_file_atomically(folder / name, *image).ok());
  };
  write("a.eagle.gguf", "eagle", 8);
  write("b.eagle.gguf", "eagle", 7);
  write("c.eagle.gguf", "eagle", 7);
  write("d.eagle.gguf", "medusa", 7);
  write("more/any.gguf", "medusa", 7);
  ASSERT_EQ(setenv("S3D_ADAPTERS", (folder / "more").c_str(), 1), 0);
  const std::vector<DraftFile> found = find_draft_files(folder / "model.gguf", 7);
  unsetenv("S3D_ADAPTERS");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].kind, "eagle");
  EXPECT_EQ(found[0].path, folder / "b.eagle.gguf");
  EXPECT_EQ(found[1].kind, "medusa");
  EXPECT_EQ(found[1].path, folder / "more/any.gguf");
  EXPECT_EQ(open_draft_file(folder / "a.eagle.gguf")->kind, "eagle");
  EXPECT_FALSE(open_draft_file(folder / "absent.gguf").ok());
  write("e.gguf", "oracle", 7);
  EXPECT_THAT(open_draft_file(folder / "e.gguf").error().message,
              testing::HasSubstr("\"oracle\", expected one of s3d, fused, eagle, medusa"));
}

TEST(DraftFiles, AreCalledByTheEndOfTheirPath) {
  const std::vector<DraftFile> files = {{.kind = "s3d", .path = "/x/a/one.gguf"},
                                        {.kind = "s3d", .path = "/x/b/one.gguf"},
                                        {.kind = "eagle", .path = "/x/one.gguf"},
                                        {.kind = "s3d", .path = "two.gguf"}};
  EXPECT_TRUE(files[0].is_called("/x/a/one.gguf"));
  EXPECT_TRUE(files[0].is_called("a/one.gguf"));
  EXPECT_TRUE(files[0].is_called("one.gguf"));
  EXPECT_FALSE(files[0].is_called("ne.gguf")) << "a part of a name";
  EXPECT_FALSE(files[0].is_called("b/one.gguf"));
  EXPECT_FALSE(files[0].is_called(""));
  EXPECT_EQ(short_name(files, 0), "a/one.gguf");
  EXPECT_EQ(short_name(files, 1), "b/one.gguf");
  EXPECT_EQ(short_name(files, 2), "one.gguf") << "another kind does not count";
  EXPECT_EQ(short_name(files, 3), "two.gguf");
}

}  // namespace
}  // namespace s3d
