#include "base/text_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_folder.h"

namespace s3d {
namespace {

TEST(TextFile, AMarkInFrontAndLineEndsOfWindowsAreNoText) {
  EXPECT_EQ(plain_text("\xEF\xBB\xBFone\r\ntwo\r\n"), "one\ntwo\n");
  EXPECT_EQ(plain_text("\xEF\xBB\xBF\xEF\xBB\xBF"), "\xEF\xBB\xBF") << "only the first one is a mark";
  EXPECT_EQ(plain_text("a\rb\r"), "a\rb\r") << "no line end of Windows";
  EXPECT_EQ(plain_text("a\r\r\nb"), "a\r\nb");
  EXPECT_EQ(plain_text("\xEF\xBB"), "\xEF\xBB");
  EXPECT_EQ(plain_text(""), "");
}

TEST(TextFile, ReadsAFileAndNamesOneThatIsMissing) {
  const TestFolder folder;
  std::ofstream(folder / "a.txt", std::ios::binary) << "\xEF\xBB\xBFone\r\n";
  EXPECT_EQ(read_text_file(folder / "a.txt").value(), "one\n");
  EXPECT_NE(read_text_file(folder / "none").error().message.find("none"), std::string::npos);
}

}  // namespace
}  // namespace s3d
