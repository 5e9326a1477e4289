#include "cli/shell_completion.h"

#include <gtest/gtest.h>

namespace s3d::cli {
namespace {

TEST(ShellCompletionTest, EveryShellKnowsCommandsOptionsAndChoices) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(shell).value();
    for (const char* part : {"generate", "perplexity", "top-k", "q8_0", "--color"}) {
      const std::string_view wanted = shell == std::string_view("fish") && part[0] == '-' ? part + 2 : part;
      EXPECT_NE(script.find(wanted), std::string::npos) << shell << ": " << wanted;
    }
  }
}

TEST(ShellCompletionTest, RefusesAnUnknownShell) {
  EXPECT_NE(completion_script("tcsh").error().message.find("bash, zsh and fish"), std::string::npos);
}

}  // namespace
}  // namespace s3d::cli
