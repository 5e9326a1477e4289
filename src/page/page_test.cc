#include "page/page.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/test_folder.h"

namespace s3d {
namespace {

std::string header(const http::Reply& reply, std::string_view name) {
  return reply.headers.value_or(name, "");
}

TEST(PageTest, HasTheFilesOfTheSourceTree) {
  const Page page = Page::built_in();
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(S3D_SOURCE_DIR "/web")) {
    const auto reply = page.answer("/" + entry.path().filename().string(), "");
    ASSERT_TRUE(reply) << entry.path();
    std::ifstream in(entry.path(), std::ios::binary);
    EXPECT_EQ(reply->body, std::string(std::istreambuf_iterator<char>(in), {})) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 5);
}

TEST(PageTest, TheRootIsTheIndex) {
  const Page page = Page::built_in();
  const auto reply = page.answer("/", "");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(header(*reply, "Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(reply->body, page.answer("/index.html", "")->body);
  EXPECT_EQ(header(*page.answer("/app.js", ""), "Content-Type"), "text/javascript; charset=utf-8");
}

TEST(PageTest, AllowsNoCodeButItsOwn) {
  const auto reply = Page::built_in().answer("/", "");
  const std::string policy = header(*reply, "Content-Security-Policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(policy.find("script-src 'self';"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(header(*reply, "X-Content-Type-Options"), "nosniff");
}

TEST(PageTest, SaysThatNothingChanged) {
  const Page page = Page::built_in();
  const std::string etag = header(*page.answer("/", ""), "ETag");
  const auto again = page.answer("/", etag);
  EXPECT_EQ(again->status, 304);
  EXPECT_EQ(again->body, "");
  EXPECT_EQ(page.answer("/app.js", etag)->status, 200);
}

TEST(PageTest, HasNothingElse) {
  const Page page = Page::built_in();
  for (const char* path : {"/other.js", "", "index.html", "/web/index.html", "/../CMakeLists.txt", "//index.html"}) {
    EXPECT_FALSE(page.answer(path, "")) << path;
  }
}

TEST(PageTest, IsReadFromAFolder) {
  const TestFolder folder;
  EXPECT_NE(Page::from_folder(folder.path()).error().message.find("no index.html"), std::string::npos);
  std::ofstream(folder.path() + "/index.html") << "<p>mine</p>";
  const auto page = Page::from_folder(folder.path());
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->answer("/", "")->body, "<p>mine</p>");
  EXPECT_NE(Page::from_folder(folder.path() + "/none").error().message.find("none"), std::string::npos);
}

}  // namespace
}  // namespace s3d
