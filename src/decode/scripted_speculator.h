// Drafts that a test makes up: for tests of rounds on a ScriptedBackend.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "decode/speculator.h"

namespace s3d {

// Proposes whatever the test says; checks what it is shown.
class ScriptedSpeculator : public Speculator {
 public:
  using Script = std::function<DraftTree(const DraftInput&, const DraftLimits&)>;
  explicit ScriptedSpeculator(Script script) : script_(std::move(script)) {}

  bool needs_state() const override { return true; }
  Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad&, Proposal& proposal) override {
    // The state is that of the row before the last token: its token and position.
    EXPECT_EQ(input.state.size(), 64U);
    EXPECT_EQ(input.state[0], static_cast<float>(input.tokens[input.tokens.size() - 2]));
    EXPECT_EQ(input.state[1], static_cast<float>(input.tokens.size() - 2));
    proposal.clear();
    proposal.tree = script_(input, limits);
    proposal.source = "script";
    return Ok();
  }
  void learn(const DraftTree&, const RoundResult& result) override { accepted.push_back(result.path.size()); }
  size_t extra_bytes() const override { return 0; }

  std::vector<size_t> accepted;

 private:
  Script script_;
};

}  // namespace s3d
