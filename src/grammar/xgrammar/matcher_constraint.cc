#include "grammar/xgrammar/matcher_constraint.h"

#include <xgrammar/matcher.h>

#include <algorithm>
#include <exception>
#include <string>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

class MatcherConstraint final : public Constraint {
 public:
  MatcherConstraint(const xgrammar::CompiledGrammar& grammar, const Tokenizer& tokenizer)
      : matcher_(grammar), tokenizer_(tokenizer) {}

  bool allowed(std::span<uint32_t> mask) override;
  bool push(TokenId token) override;
  void pop(int count) override;
  void forced(int most, std::vector<TokenId>& tokens) override;

 private:
  xgrammar::GrammarMatcher matcher_;
  const Tokenizer& tokenizer_;
  int pushed_ = 0;
};

bool MatcherConstraint::allowed(std::span<uint32_t> mask) {
  const auto words = usize((tokenizer_.vocab_size() + 31) / 32);
  S3D_CHECK(mask.size() >= words, "the mask is too short for the vocabulary");
  std::fill(mask.begin(), mask.end(), 0U);
  if (matcher_.IsTerminated()) return true;
  int64_t shape = isize(mask.first(words));
  DLTensor tensor{.data = mask.data(),
                  .device = {kDLCPU, 0},
                  .ndim = 1,
                  .dtype = xgrammar::GetBitmaskDLType(),
                  .shape = &shape,
                  .strides = nullptr,
                  .byte_offset = 0};
  try {
    return matcher_.FillNextTokenBitmask(&tensor);
  } catch (const std::exception&) {  // a limit of xgrammar's: nothing can follow, and the answer ends
    std::fill(mask.begin(), mask.end(), 0U);
    return true;
  }
}

bool MatcherConstraint::push(TokenId token) {
  if (matcher_.IsTerminated()) return false;
  try {
    if (!matcher_.AcceptToken(token)) return false;
  } catch (const std::exception&) {
    return false;
  }
  ++pushed_;
  return true;
}

void MatcherConstraint::pop(int count) {
  S3D_CHECK(count >= 0 && count <= pushed_, "more tokens are taken back than were pushed");
  if (count > 0) matcher_.Rollback(count);
  pushed_ -= count;
}

// The text that has to follow is known to the byte; how the model would cut it into tokens is not. Its last token is
// left out, as the model may prefer a longer one.
void MatcherConstraint::forced(int most, std::vector<TokenId>& tokens) {
  tokens.clear();
  if (most <= 0 || matcher_.IsTerminated()) return;
  std::string text;
  try {
    text = matcher_.FindJumpForwardString();
  } catch (const std::exception&) {
    return;
  }
  if (text.empty()) return;
  std::vector<TokenId> cut = tokenizer_.encode(text, /*add_bos=*/false, /*parse_special=*/false);
  if (!cut.empty()) cut.pop_back();
  for (const TokenId token : cut) {
    if (isize(tokens) == most || !push(token)) break;
    tokens.push_back(token);
  }
  pop(isize(tokens));
}

}  // namespace

Result<std::shared_ptr<Constraint>> make_matcher_constraint(const xgrammar::CompiledGrammar& grammar,
                                                            const Tokenizer& tokenizer) {
  try {
    return std::shared_ptr<Constraint>(std::make_shared<MatcherConstraint>(grammar, tokenizer));
  } catch (const std::exception& error) {
    return Error{std::string("no matcher for this grammar: ") + error.what()};
  }
}

}  // namespace s3d
