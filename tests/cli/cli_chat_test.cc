#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/test_folder.h"
#include "program_runner.h"

namespace s3d::test {
namespace {

const std::vector<std::string> kChat = {"chat", "-m", tiny_model(), "--chat-template", "chatml", "-n", "8"};

TEST(CliChatTest, EveryLineOfAPipeIsAQuestionOrACommand) {
  auto arguments = kChat;
  arguments.emplace_back("--verbose");
  const Outcome o = run_s3d(arguments, "one\n\n/help\ntwo\n/stats\n/quit\nnever asked\n");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("/reset"), std::string::npos);
  EXPECT_NE(o.err.find("cached"), std::string::npos) << "the second turn reuses the first one's keys and values";
  EXPECT_NE(o.err.find("positions: "), std::string::npos);
  EXPECT_GE(std::count(o.out.begin(), o.out.end(), '\n'), 2);
}

// Of each question the figures of --verbose tell that it was asked.
int asked(const std::string& input) {
  auto arguments = kChat;
  arguments.emplace_back("--verbose");
  const Outcome o = run_s3d(arguments, input);
  EXPECT_EQ(o.code, 0) << o.err;
  int count = 0;
  for (size_t at = o.err.find("answer: "); at != std::string::npos; at = o.err.find("answer: ", at + 1)) ++count;
  return count;
}

TEST(CliChatTest, OnlyKnownCommandsAreCommands) {
  EXPECT_EQ(asked("/etc/hosts is what?\n"), 1);
  EXPECT_EQ(asked("// what does this do\n/\n/nonsense\n"), 3);
  EXPECT_EQ(asked("/reset the router, but how?\n/resets\n/quit smoking\n"), 3);
  EXPECT_EQ(asked("/reset\n/help\n /stats \n/system be brief\n/quit\nx\n"), 0);
}

TEST(CliChatTest, LineEndsOfWindowsAndAMarkInFrontAreNoText) {
  auto arguments = kChat;
  arguments.emplace_back("--verbose");
  const auto out = [&](const std::string& input) {
    const Outcome o = run_s3d(arguments, input);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.out + o.err.substr(o.err.find("prompt: "), 17);
  };
  EXPECT_EQ(out("\xEF\xBB\xBFthe \\\r\nin\r\n/quit\r\n"), out("the \\\nin\n/quit\n"));
}

TEST(CliChatTest, ResetForgetsAndTheSeedRepeats) {
  auto arguments = kChat;
  arguments.insert(arguments.end(), {"--temp", "1", "--seed", "4"});
  const Outcome a = run_s3d(arguments, "one\n/reset\n/system x\n/system\n/undo\n/retry\n");
  const Outcome b = run_s3d(arguments, "one\n/reset\n/system x\n/system\n/undo\n/retry\n");
  EXPECT_EQ(a.code, 0) << a.err;
  EXPECT_EQ(a.out, b.out);
  EXPECT_NE(a.err.find("nothing to drop"), std::string::npos) << a.err;
}

TEST(CliChatTest, AFullContextIsAnErrorThatLeavesTheDialogueAlive) {
  auto arguments = kChat;
  arguments.insert(arguments.end(), {"-c", "64"});
  const Outcome o = run_s3d(arguments, std::string(300, 'x') + "\none\n");
  EXPECT_EQ(o.code, 1) << "a question without an answer fails a script\n" << o.err;
  EXPECT_NE(o.err.find("the context holds 64"), std::string::npos) << o.err;
  EXPECT_FALSE(o.out.empty());
}

TEST(CliChatTest, RetryOfAQuestionThatFailedDropsNoOtherAnswer) {
  auto arguments = kChat;
  arguments.insert(arguments.end(), {"-c", "96"});
  const std::string too_long(300, 'x');
  const Outcome o = run_s3d(arguments, "one\n" + too_long + "\n/retry\n/undo\n/undo\n");
  EXPECT_EQ(o.code, 1) << o.err;
  EXPECT_NE(o.err.find("The last question is dropped"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("There is nothing to drop"), std::string::npos) << o.err;
}

class CliChatTerminalTest : public testing::Test {
 protected:
  std::string history() const {
    std::stringstream text;
    text << std::ifstream(state_ / "s3d/chat_history").rdbuf();
    return text.str();
  }

  const TestFolder state_;
  const Environment environment_ = {
      {"XDG_STATE_HOME", state_.path()}, {"TERM", "xterm"}, {"NO_COLOR", "1"}, {"LC_ALL", "C.UTF-8"}};
};

TEST_F(CliChatTerminalTest, CtrlCDropsALineAndCtrlDLeaves) {
  Terminal chat(kChat, environment_);
  ASSERT_TRUE(chat.wait_for("> ")) << chat.screen();
  chat.type("half a line\x03");
  ASSERT_TRUE(chat.wait_for("Ctrl-D or /quit leaves")) << chat.screen();
  ASSERT_TRUE(chat.wait_for("> "));
  chat.type("/stats\n");
  ASSERT_TRUE(chat.wait_for("positions: 0 of")) << chat.screen();
  ASSERT_TRUE(chat.wait_for("> "));
  chat.type("\x04");
  EXPECT_EQ(chat.finish(), 0) << chat.screen();
  EXPECT_NE(history().find("/stats"), std::string::npos);
  EXPECT_EQ(history().find("half"), std::string::npos);
}

TEST_F(CliChatTerminalTest, CtrlCStopsTheAnswerAndNotTheProgram) {
  auto arguments = kChat;
  // Without an end token, and with a context that takes a while to fill.
  arguments.insert(arguments.end(), {"-n", "-1", "--logit-bias", "1=-inf", "-c", "512", "--no-history"});
  arguments.erase(arguments.begin() + 5, arguments.begin() + 7);
  Terminal chat(arguments, environment_);
  ASSERT_TRUE(chat.wait_for("> ")) << chat.screen();
  chat.type("go\n");
  ASSERT_TRUE(chat.wait_for("go")) << chat.screen();
  chat.type("\x03");
  ASSERT_TRUE(chat.wait_for("> ")) << chat.screen();  // stopped, or already at the end of the context
  chat.type("/quit\n");
  EXPECT_EQ(chat.finish(), 0) << chat.screen();
  EXPECT_EQ(history(), "");
}

TEST_F(CliChatTerminalTest, TheHistoryOutlivesTheProgram) {
  {
    Terminal chat(kChat, environment_);
    ASSERT_TRUE(chat.wait_for("> "));
    chat.type("/undo\n/quit\n");
    EXPECT_EQ(chat.finish(), 0);
  }
  Terminal chat(kChat, environment_);
  ASSERT_TRUE(chat.wait_for("> "));
  chat.type("\x1b[A\x1b[A\n");  // twice up
  ASSERT_TRUE(chat.wait_for("There is nothing to drop")) << chat.screen();
  chat.type("/quit\n");
  EXPECT_EQ(chat.finish(), 0);
}

}  // namespace
}  // namespace s3d::test
