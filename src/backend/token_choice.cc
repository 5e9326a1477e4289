#include "backend/token_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/backend.h"
#include "backend/packed_adapter.h"
#include "base/check.h"
#include "base/softmax.h"

namespace s3d {
namespace {

bool before(const RankedToken& a, const RankedToken& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

}  // namespace

void take_best(std::span<const float> logits, std::span<RankedToken> out) {
  if (out.empty()) return;
  size_t n = 0;  // of them, a heap: it sees most logits only in one compare
  for (size_t i = 0; i < logits.size(); ++i) {
    const RankedToken token{static_cast<TokenId>(i), logits[i]};
    if (n < out.size()) {
      if (!(token.logit > softmax::kMinusInfinity)) continue;
      out[n++] = token;
      std::push_heap(out.begin(), out.begin() + n, before);
    } else if (token.logit > out.front().logit) {  // an equal one that comes later loses its tie
      std::pop_heap(out.begin(), out.end(), before);
      out.back() = token;
      std::push_heap(out.begin(), out.end(), before);
    }
  }
  std::sort_heap(out.begin(), out.begin() + n, before);
  std::fill(out.begin() + n, out.end(), RankedToken{-1, softmax::kMinusInfinity});
}

void Choices::resize(int rows, const ChoiceAsk& ask) {
  S3D_CHECK(ask.best >= 1 && ask.best <= ChoiceAsk::kMost, "a number of best tokens");
  best = ask.best;
  tokens.resize(usize(rows) * usize(best));
  sums.resize(ask.sums ? usize(rows) : 0);
  finite.resize(usize(rows));
  z.clear();
}

void choose_row(std::span<const float> logits, const ChoiceAsk& ask, int i, Choices& out) {
  const softmax::LargestNumber largest = softmax::largest_number_of(logits);
  const auto tokens = std::span(out.tokens).subspan(usize(i) * usize(ask.best), usize(ask.best));
  if (ask.best == 1) {
    const auto at = std::find(logits.begin(), logits.end(), largest.value) - logits.begin();
    tokens[0] = {largest.value > softmax::kMinusInfinity ? static_cast<TokenId>(at) : -1, largest.value};
  } else {
    take_best(logits, tokens);
  }
  out.finite[usize(i)] = largest.all_finite ? 1 : 0;
  if (ask.sums) out.sums[usize(i)] = softmax::sum_of_exp(logits, largest.value);
}

// ---- What a backend does that says nothing else --------------------------------------------------------------------

Result<PassOutput> Backend::run_part(const Block& /*block*/, KvCache& /*kv*/, const PassPart& /*part*/) {
  return Error{fmt::format("backend '{}' cannot share the layers of a model with another one", name())};
}

Status Backend::choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) {
  S3D_CHECK(rows.rows == 0 || !rows.logits.empty(), "this backend keeps no logits");
  out.resize(rows.rows, ask);
  const size_t width = rows.rows > 0 ? rows.logits.size() / usize(rows.rows) : 0;
  for (int i = 0; i < rows.rows; ++i) choose_row(rows.logits.subspan(usize(i) * width, width), ask, i, out);
  return Ok();
}

Status Backend::choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous,
                             const ChoiceAsk& ask, Choices& out) {
  const size_t rank = adapter.markov_p().rows(), width = adapter.draft_size();
  if (rank == 0) return choose(rows, ask, out);
  S3D_CHECK(rows.logits.size() == usize(rows.rows) * width, "this backend keeps no logits");
  out.resize(rows.rows, ask);
  out.z.resize(usize(rows.rows) * rank);
  std::vector<float>& scored = out.scratch;
  scored.resize(width);
  for (int i = 0; i < rows.rows; ++i) {
    std::copy_n(rows.logits.begin() + static_cast<std::ptrdiff_t>(usize(i) * width), width, scored.begin());
    add_markov(adapter, {&previous, 1}, scored, std::span(out.z).subspan(usize(i) * rank, rank));
    choose_row(scored, ask, i, out);
    const TokenId best = out.row(i)[0].token;
    if (best >= 0) previous = adapter.draft_token(usize(best));
  }
  return Ok();
}

}  // namespace s3d
