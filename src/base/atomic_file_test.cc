#include "base/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace s3d {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class AtomicFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("s3d-atomic-") + info->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(AtomicFile, WritesAndReplaces) {
  const std::string path = folder_ / "file";
  ASSERT_TRUE(write_file_atomically(path, bytes_of("first")).ok());
  EXPECT_EQ(read(path), "first");
  ASSERT_TRUE(write_file_atomically(path, bytes_of("second, and longer")).ok());
  EXPECT_EQ(read(path), "second, and longer");
  ASSERT_TRUE(write_file_atomically(path, {}).ok());
  EXPECT_EQ(read(path), "");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFile, MissingFolderIsAnError) {
  const auto status = write_file_atomically(folder_ / "absent" / "file", bytes_of("x"));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("absent/file"));
}

TEST_F(AtomicFile, AfterAnErrorNothingIsLeftBehind) {
  fs::create_directories(folder_ / "taken" / "inside");  // a folder that is not empty cannot be replaced by a file
  const auto status = write_file_atomically(folder_ / "taken", bytes_of("x"));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("taken"));
  EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace s3d
