#include "cli/console.h"

#include <gtest/gtest.h>

#include "cli/report.h"

namespace s3d::cli {
namespace {

TEST(Console, NothingVisibleSteersATerminal) {
  EXPECT_EQ(visible("a\x1b]0;owned\x07z"), "a\\x1b]0;owned\\x07z");
  EXPECT_EQ(visible("a\nb\tc\x7f"), "a\\nb\\x09c\\x7f");
  EXPECT_EQ(visible("\xC2\x9B\x33\x31m"), "\\u009b31m") << "CSI as one C1 character";
  EXPECT_EQ(visible("\x9B\x33\x31m \xC2"), "\\x9b31m \\xc2") << "as a byte that is no UTF-8";
  EXPECT_EQ(visible("é \u00A0 한 😀"), "é \u00A0 한 😀");
}

TEST(Console, JsonHoldsNoControls) {
  const std::string text = json_text({{"k\x7f", "a\x1b[31m\u009b31m é\u00A0"}});
  EXPECT_EQ(text, "{\n  \"k\\u007f\": \"a\\u001b[31m\\u009b31m é\u00A0\"\n}\n");
}

}  // namespace
}  // namespace s3d::cli
