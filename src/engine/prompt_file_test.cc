#include "engine/prompt_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_folder.h"

namespace s3d {
namespace {

std::vector<FilePrompt> prompts_of(const std::string& text) {
  const TestFolder folder;
  std::ofstream(folder / "p.jsonl", std::ios::binary) << text;
  return read_prompt_file(folder / "p.jsonl").value();
}

TEST(PromptFile, AMarkInFrontAndLineEndsOfWindowsChangeNothing) {
  const auto prompts = prompts_of("\xEF\xBB\xBF{\"prompt\":\"one\",\"category\":\"x\"}\r\nplain text\r\n\r\n");
  ASSERT_EQ(prompts.size(), 2U);
  EXPECT_EQ(prompts[0].category, "x");
  EXPECT_EQ(prompts[0].turns, std::vector<std::string>{"one"});
  EXPECT_EQ(prompts[1].turns, std::vector<std::string>{"plain text"});
}

TEST(PromptFile, AMarkBeforePlainTextIsNoText) {
  EXPECT_EQ(prompts_of("\xEF\xBB\xBFplain\n")[0].turns, std::vector<std::string>{"plain"});
}

}  // namespace
}  // namespace s3d
