#include "fetch/download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <vector>

#include "fetch/sha256.h"
#include "fetch/test_server.h"

namespace s3d {
namespace {

using testing::HasSubstr;
using testing::Not;

class DownloadTest : public testing::Test {
 protected:
  DownloadRequest request(const std::string& repo) const {
    DownloadRequest result;
    result.url = server_.file_url(repo);
    result.path = folder_ / "model.gguf";
    result.attempts = 3;
    result.retry_delay = std::chrono::milliseconds(1);
    return result;
  }
  bool file_exists(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

  TestServer server_;
  TestFolder folder_;
};

TEST_F(DownloadTest, FetchesChecksAndNamesTheFile) {
  std::vector<uint64_t> received;
  DownloadRequest wanted = request("plain");
  wanted.path = folder_ / "deep/er/model.gguf";
  wanted.progress = [&](const DownloadProgress& progress) {
    received.push_back(progress.received);
    return true;
  };
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(read_all(wanted.path), TestServer::content());
  EXPECT_EQ(file->bytes, TestServer::content().size());
  EXPECT_TRUE(file->verified);
  EXPECT_FALSE(file->was_present);
  EXPECT_EQ(file->sha256, *sha256_of_file(wanted.path));
  EXPECT_FALSE(file_exists("deep/er/model.gguf.partial"));
  EXPECT_FALSE(file_exists("deep/er/model.gguf.partial.id"));
  EXPECT_TRUE(std::is_sorted(received.begin(), received.end()));
}

TEST_F(DownloadTest, DoesNotFetchAFileTwice) {
  ASSERT_TRUE(download(request("plain")).ok());
  const Result<DownloadedFile> again = download(request("plain"));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->was_present);
  const std::string log = server_.log();
  EXPECT_EQ(log.find("GET"), log.rfind("GET")) << log;
}

TEST_F(DownloadTest, ReplacesAFileOfAnotherVersion) {
  std::ofstream(folder_ / "model.gguf") << std::string(TestServer::content().size(), 'x');
  ASSERT_TRUE(download(request("plain")).ok());
  EXPECT_EQ(read_all(folder_ / "model.gguf"), TestServer::content());
}

TEST_F(DownloadTest, GoesOnAfterCutConnections) {
  const Result<DownloadedFile> file = download(request("cut"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(read_all(file->path), TestServer::content());
  EXPECT_THAT(server_.log(), HasSubstr("bytes=100000-"));
  EXPECT_THAT(server_.log(), HasSubstr("bytes=200000-"));
}

TEST_F(DownloadTest, GoesOnInALaterCall) {
  DownloadRequest wanted = request("cut-once");
  wanted.attempts = 1;
  ASSERT_FALSE(download(wanted).ok());
  EXPECT_FALSE(file_exists("model.gguf"));
  EXPECT_EQ(std::filesystem::file_size(folder_ / "model.gguf.partial"), 100'000u);
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(read_all(file->path), TestServer::content());
  EXPECT_THAT(server_.log(), HasSubstr("bytes=100000-"));
}

TEST_F(DownloadTest, StartsAgainWhenTheFileChangedMeanwhile) {
  DownloadRequest wanted = request("changing");
  wanted.attempts = 1;
  ASSERT_FALSE(download(wanted).ok());  // 100,000 bytes of the old content lie in the partial file now
  ASSERT_FALSE(download(wanted).ok());  // the server's second answer still has the old content
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_TRUE(file.ok()) << file.error().message;
  std::string reversed = TestServer::content();
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(read_all(file->path), reversed);
  EXPECT_THAT(server_.log(), Not(HasSubstr("bytes=")));
}

TEST_F(DownloadTest, NeverJoinsPartsOfTwoVersions) {
  const Result<DownloadedFile> file = download(request("swapped"));  // no checksum, and the same length
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("changed on the server"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DownloadTest, StartsAgainWhenTheServerKnowsNoRanges) {
  const Result<DownloadedFile> file = download(request("whole"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(read_all(file->path), TestServer::content());
  EXPECT_THAT(server_.log(), HasSubstr("bytes=100000-"));
}

TEST_F(DownloadTest, GivesUpAfterAttemptsWithoutProgress) {
  const Result<DownloadedFile> file = download(request("always-cut"));
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr(server_.file_url("always-cut")));
}

TEST_F(DownloadTest, RemovesAFileWithAWrongChecksum) {
  const Result<DownloadedFile> file = download(request("lying"));
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("SHA-256"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DownloadTest, ChecksAgainstTheCallersChecksum) {
  DownloadRequest wanted = request("untagged");
  Result<DownloadedFile> file = download(wanted);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_FALSE(file->verified);
  wanted.sha256 = std::string(64, 'a');
  file = download(wanted);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr(std::string(64, 'a')));
}

TEST_F(DownloadTest, TriesAgainWhenTheServerIsBusy) {
  const Result<DownloadedFile> file = download(request("busy"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(read_all(file->path), TestServer::content());
}

TEST_F(DownloadTest, ReportsWhatTheServerRefuses) {
  const Result<DownloadedFile> missing = download(request("missing"));
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("404"));
  const Result<DownloadedFile> down = download(request("down"));
  ASSERT_FALSE(down.ok());
  EXPECT_THAT(down.error().message, HasSubstr("500"));
  const Result<DownloadedFile> closed = download(request("private"));
  ASSERT_FALSE(closed.ok());
  EXPECT_THAT(closed.error().message, HasSubstr("HF_TOKEN"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(DownloadTest, SendsTheToken) {
  DownloadRequest wanted = request("private");
  wanted.token = "secret";
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_TRUE(file.ok()) << file.error().message;
  wanted.token = "wrong";
  const Result<DownloadedFile> refused = download(wanted);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("licence"));
  EXPECT_THAT(refused.error().message, Not(HasSubstr("wrong")));  // a token never shows up in a message
}

TEST_F(DownloadTest, ReportsThatNobodyAnswers) {
  DownloadRequest wanted = request("plain");
  wanted.url = "http://127.0.0.1:1/model.gguf";
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("127.0.0.1"));
}

TEST_F(DownloadTest, StopsWhenAskedTo) {
  DownloadRequest wanted = request("plain");
  wanted.progress = [](const DownloadProgress&) { return false; };
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("stopped"));
  EXPECT_FALSE(file_exists("model.gguf"));
}

// A limit on the size of files stands for a full disk: write() fails in the middle of the file in both cases.
TEST_F(DownloadTest, ReportsAFullDiskAndGoesOnLater) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{50'000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Result<DownloadedFile> file = download(request("plain"));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("cannot write " + (folder_ / "model.gguf.partial")));
  EXPECT_THAT(file.error().message, HasSubstr("free some space"));
  EXPECT_FALSE(file_exists("model.gguf"));
  const Result<DownloadedFile> later = download(request("plain"));
  ASSERT_TRUE(later.ok()) << later.error().message;
  EXPECT_EQ(read_all(later->path), TestServer::content());
  EXPECT_THAT(server_.log(), HasSubstr("bytes=50000-"));
}

TEST_F(DownloadTest, ReportsAFolderThatCannotBeMade) {
  std::ofstream(folder_ / "file") << "x";
  DownloadRequest wanted = request("plain");
  wanted.path = folder_ / "file/model.gguf";
  const Result<DownloadedFile> file = download(wanted);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("folder"));
}

}  // namespace
}  // namespace s3d
