#include "base/atomic_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
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

class AtomicFileTest : public testing::Test {
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

TEST_F(AtomicFileTest, WritesAndReplaces) {
  const std::string path = folder_ / "file";
  ASSERT_TRUE(write_file_atomically(path, bytes_of("first")).ok());
  EXPECT_EQ(read(path), "first");
  ASSERT_TRUE(write_file_atomically(path, bytes_of("second, and longer")).ok());
  EXPECT_EQ(read(path), "second, and longer");
  ASSERT_TRUE(write_file_atomically(path, {}).ok());
  EXPECT_EQ(read(path), "");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, MissingFolderIsAnError) {
  const auto status = write_file_atomically(folder_ / "absent" / "file", bytes_of("x"));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("absent/file"));
}

TEST_F(AtomicFileTest, AfterAnErrorNothingIsLeftBehind) {
  fs::create_directories(folder_ / "taken" / "inside");  // a folder that is not empty cannot be replaced by a file
  const auto status = write_file_atomically(folder_ / "taken", bytes_of("x"));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("taken"));
  EXPECT_EQ(files(), 1U);
}

// Makes writing beyond `bytes` fail, as a full disk would, until it is destroyed.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    rlimit limit = old_limit_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int);
};

TEST_F(AtomicFileTest, AppearsOnlyWhenCommitted) {
  const std::string path = folder_ / "file";
  auto file = AtomicFile::create(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_TRUE(file->write("hello ").ok());
  ASSERT_TRUE(file->write("world").ok());
  EXPECT_EQ(file->bytes_written(), 11U);
  EXPECT_FALSE(fs::exists(path));
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(read(path), "hello world");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, WithoutCommitTheOldFileStays) {
  const std::string path = folder_ / "file";
  ASSERT_TRUE(write_file_atomically(path, bytes_of("old")).ok());
  {
    auto file = AtomicFile::create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write("unfinished").ok());
  }
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, TwoWritersOfOneFile) {
  const std::string path = folder_ / "file";
  auto first = AtomicFile::create(path);
  auto second = AtomicFile::create(path);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(first->write("1").ok());
  ASSERT_TRUE(second->write("2").ok());
  ASSERT_TRUE(second->commit().ok());
  ASSERT_TRUE(first->commit().ok());
  EXPECT_EQ(read(path), "1");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, MovesItsTemporaryFile) {
  auto file = AtomicFile::create(folder_ / "a");
  auto other = AtomicFile::create(folder_ / "b");
  ASSERT_TRUE(file.ok() && other.ok());
  AtomicFile moved = std::move(*file);
  *other = std::move(moved);  // the temporary file of b goes
  EXPECT_EQ(files(), 1U);
  ASSERT_TRUE(other->commit().ok());
  EXPECT_TRUE(fs::exists(folder_ / "a"));
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, FailedWriteLeavesTheOldFile) {
  const std::string path = folder_ / "file";
  ASSERT_TRUE(write_file_atomically(path, bytes_of("old")).ok());
  const FileSizeLimit limit(1000);
  const auto status = write_file_atomically(path, bytes_of(std::string(5000, 'x')));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr(path + ": writing failed after 1000 bytes"));
  EXPECT_EQ(read(path), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFileTest, FullDiskIsSaid) {
  const int fd = open("/dev/full", O_WRONLY);
  if (fd < 0) GTEST_SKIP() << "this system has no /dev/full";
  size_t written = 0;
  const int error_number = write_fully(fd, bytes_of("text"), written);
  close(fd);
  EXPECT_EQ(written, 0U);
  EXPECT_THAT(write_failure_text(error_number), HasSubstr("free some space"));
}

}  // namespace
}  // namespace s3d
