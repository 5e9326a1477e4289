#include "decode/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "base/index.h"
#include "base/softmax.h"

namespace s3d {
namespace {

using Candidate = Sampler::Candidate;
using softmax::exp_nonpositive;
using softmax::kLanes;
using softmax::kMinusInfinity;
using softmax::largest_number_of;
using softmax::largest_of;

int32_t first_with(std::span<const float> values, float wanted) {
  const auto at = std::find(values.begin(), values.end(), wanted);
  return at == values.end() ? 0 : static_cast<int32_t>(at - values.begin());
}

// More probable first, the smaller id first among equals: the one order of candidates.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The `k` best tokens of the vocabulary, in order, weights not set. A heap of k sees most logits only in one compare.
void take_top_k(std::span<const float> logits, size_t k, std::vector<Candidate>& out) {
  out.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    const Candidate c{logits[i], 0, static_cast<int32_t>(i)};
    if (out.size() < k) {
      if (!(c.logit > kMinusInfinity)) continue;
      out.push_back(c);
      std::push_heap(out.begin(), out.end(), before);
    } else if (c.logit > out.front().logit) {  // an equal one that comes later loses its tie
      std::pop_heap(out.begin(), out.end(), before);
      out.back() = c;
      std::push_heap(out.begin(), out.end(), before);
    }
  }
  std::sort_heap(out.begin(), out.end(), before);
}

// Adds up in a fixed order: running sums side by side, then those in turn.
double sum_of(std::span<const float> values) {
  std::array<double, kLanes> lanes{};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(values[i + j]);
  }
  for (; i < values.size(); ++i) lanes[0] += static_cast<double>(values[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

double sum_of(std::span<const Candidate> list) {
  double sum = 0;
  for (const Candidate& c : list) sum += static_cast<double>(c.weight);
  return sum;
}

// weights[i] = exp((logits[i] - largest) / temperature); NaN weighs nothing.
void weigh(std::span<const float> logits, float largest, float temperature, std::vector<float>& weights) {
  weights.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) weights[i] = exp_nonpositive((logits[i] - largest) / temperature);
}

// Keeps the fewest best candidates whose weights reach `wanted`, in the order they had. No sort: the last one to keep
// is found by halving, each step looking only at the half in which the sum passes `wanted`.
void keep_best_until(double wanted, std::vector<Candidate>& list, std::vector<Candidate>& scratch) {
  scratch = list;
  const auto at = [&scratch](size_t i) { return scratch.begin() + i; };
  size_t begin = 0;
  size_t end = scratch.size();
  double sum = 0;
  while (end - begin > 1) {
    const size_t middle = begin + (end - begin) / 2;
    std::nth_element(at(begin), at(middle), at(end), before);
    const double half = sum_of(std::span(scratch).subspan(begin, middle - begin));
    if (sum + half >= wanted) {
      end = middle;
    } else {
      sum += half;
      begin = middle;
    }
  }
  const Candidate last = scratch[begin];
  std::erase_if(list, [&last](const Candidate& c) { return before(last, c); });
}

// The candidate where the running sum of weights passes `u` of the total. Weights of zero are never chosen.
int32_t draw(std::span<const Candidate> list, double u) {
  const double target = u * sum_of(list);
  double sum = 0;
  TokenId last = list[0].token;
  for (const Candidate& c : list) {
    if (!(c.weight > 0)) continue;
    sum += static_cast<double>(c.weight);
    last = c.token;
    if (sum > target) break;
  }
  return last;
}

// The same over a whole vocabulary, where token i weighs weights[i]: whole blocks are passed over by their sums.
int32_t draw(std::span<const float> weights, double u) {
  constexpr size_t kBlock = 512;
  const double target = u * sum_of(weights);
  double sum = 0;
  size_t last = 0;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const auto block = weights.subspan(begin, std::min(kBlock, weights.size() - begin));
    const double block_sum = sum_of(block);
    if (sum + block_sum <= target && begin + kBlock < weights.size()) {
      sum += block_sum;
      continue;
    }
    for (size_t i = 0; i < block.size(); ++i) {
      if (!(block[i] > 0)) continue;
      sum += static_cast<double>(block[i]);
      last = begin + i;
      if (sum > target) return static_cast<int32_t>(last);
    }
  }
  return static_cast<int32_t>(last);
}

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  // Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011: multipliers and Weyl steps from its table 2.
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53U} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

bool has(std::span<const uint32_t> allowed, size_t token) {
  return (allowed[token / 32] >> (token % 32) & 1U) != 0;
}

void forbid_others(std::span<const uint32_t> allowed, std::span<float> logits) {
  for (size_t word = 0; word < allowed.size(); ++word) {
    if (allowed[word] == ~uint32_t{0}) continue;
    const size_t end = std::min(logits.size(), 32 * (word + 1));
    for (size_t i = 32 * word; i < end; ++i) {
      if (!has(allowed, i)) logits[i] = kMinusInfinity;
    }
  }
}

// What is chosen where no token has a finite logit.
TokenId first_allowed(std::span<const uint32_t> allowed, size_t vocab) {
  size_t token = 0;
  while (!allowed.empty() && token + 1 < vocab && !has(allowed, token)) ++token;
  return static_cast<TokenId>(token);
}

Status check_range(const char* name, double value, bool good, const char* range) {
  if (good) return Ok();
  return Error{fmt::format("{} must be {}, got {}", name, range, value)};
}

}  // namespace

double keyed_uniform(uint64_t seed, uint64_t stream, int position) {
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32U); };
  const auto r = philox4x32({low(stream), high(stream), static_cast<uint32_t>(position), 0}, {low(seed), high(seed)});
  const uint64_t bits = (uint64_t{r[0]} << 32U | r[1]) >> 11U;  // 53 of them: all that a double holds
  return static_cast<double>(bits) * 0x1.0p-53;
}

Status SamplerOptions::check(int vocab_size) const {
  const auto finite = [](float v) { return std::isfinite(v); };
  S3D_TRY(check_range("temperature", temperature, finite(temperature) && temperature >= 0, "0 (greedy) or more"));
  S3D_TRY(check_range("top-k", top_k, top_k >= 0, "0 (off) or more"));
  S3D_TRY(check_range("top-p", top_p, top_p > 0 && top_p <= 1, "above 0 and at most 1 (off)"));
  S3D_TRY(check_range("min-p", min_p, min_p >= 0 && min_p <= 1, "from 0 (off) to 1"));
  S3D_TRY(check_range("repetition penalty", repetition_penalty, finite(repetition_penalty) && repetition_penalty > 0,
                      "above 0 (1 is off)"));
  S3D_TRY(check_range("presence penalty", presence_penalty, finite(presence_penalty), "a finite number"));
  S3D_TRY(check_range("frequency penalty", frequency_penalty, finite(frequency_penalty), "a finite number"));
  S3D_TRY(check_range("repeat-last-n", penalty_last_n, penalty_last_n >= -1, "-1 (all), 0 (off) or more"));
  for (const auto& [token, bias] : logit_bias) {
    if (token < 0 || token >= vocab_size) {
      return Error{fmt::format("logit bias: token {} is not in the vocabulary of {} tokens", token, vocab_size)};
    }
    if (std::isnan(bias)) return Error{fmt::format("logit bias: the value for token {} is not a number", token)};
  }
  return Ok();
}

bool Sampler::changes_logits() const {
  const bool penalties =
      settings_.repetition_penalty != 1 || settings_.presence_penalty != 0 || settings_.frequency_penalty != 0;
  return !settings_.logit_bias.empty() || (penalties && settings_.penalty_last_n != 0);
}

void Sampler::apply_penalties(std::span<const TokenId> history, Workspace& ws) const {
  const size_t vocab = ws.logits.size();
  const int last_n = settings_.penalty_last_n;  // -1: all of them
  if (last_n >= 0 && history.size() > usize(last_n)) history = history.last(usize(last_n));
  ws.counts.resize(vocab, 0);
  const auto known = [vocab](TokenId token) { return token >= 0 && usize(token) < vocab; };
  for (TokenId token : history) {
    if (known(token)) ++ws.counts[token];
  }
  for (TokenId token : history) {
    if (!known(token)) continue;
    int32_t& count = ws.counts[token];
    if (count == 0) continue;  // done at its first place
    float& logit = ws.logits[token];
    logit = logit > 0 ? logit / settings_.repetition_penalty : logit * settings_.repetition_penalty;
    logit -= settings_.presence_penalty + settings_.frequency_penalty * static_cast<float>(count);
    count = 0;
  }
}

std::span<const float> Sampler::adjusted(std::span<const float> logits, std::span<const TokenId> history,
                                         std::span<const uint32_t> allowed, Workspace& ws) const {
  if (!changes_logits() && allowed.empty()) return logits;
  ws.logits.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : settings_.logit_bias) {
    if (token >= 0 && usize(token) < ws.logits.size()) ws.logits[token] += bias;
  }
  if (changes_logits()) apply_penalties(history, ws);
  if (!allowed.empty()) forbid_others(allowed, ws.logits);
  return ws.logits;
}

bool Sampler::filters() const {
  return settings_.top_k > 0 || settings_.top_p < 1 || settings_.min_p > 0;
}

void Sampler::filter(std::span<const float> logits, float largest, Workspace& ws) const {
  const auto k = usize(settings_.top_k);
  if (k > 0 && k < logits.size()) {
    take_top_k(logits, k, ws.candidates);
    return filter_top(largest, ws);
  }
  weigh(logits, largest, /*temperature=*/1, ws.weights);
  const double total = sum_of(ws.weights);
  // Most of a vocabulary can go at once: all tokens below this weigh together less than half of what top-p leaves out.
  const double negligible =
      0.5 * (1.0 - static_cast<double>(settings_.top_p)) * total / static_cast<double>(logits.size());
  const auto smallest = static_cast<float>(settings_.top_p < 1 ? negligible : static_cast<double>(settings_.min_p));
  ws.candidates.clear();
  for (size_t i = 0; i < logits.size();
       ++i) {  // top-k alone may get here: then a weight of zero stays, for temperature
    const bool keep = ws.weights[i] >= smallest && logits[i] > kMinusInfinity;
    if (keep) ws.candidates.push_back({logits[i], ws.weights[i], static_cast<int32_t>(i)});
  }
  filter_rest(total, largest, ws);
}

void Sampler::filter_top(float largest, Workspace& ws) const {
  for (Candidate& c : ws.candidates) c.weight = exp_nonpositive(c.logit - largest);
  filter_rest(sum_of(ws.candidates), largest, ws);
}

void Sampler::filter_rest(double total, float largest, Workspace& ws) const {
  if (settings_.top_p < 1) keep_best_until(total * static_cast<double>(settings_.top_p), ws.candidates, ws.scratch);
  if (settings_.min_p > 0) {  // the best candidate's weight is 1
    std::erase_if(ws.candidates, [this](const Candidate& c) { return c.weight < settings_.min_p; });
  }
  for (Candidate& c : ws.candidates) c.weight = exp_nonpositive((c.logit - largest) / settings_.temperature);
}

int Sampler::needed_best() const {
  if (changes_logits()) return 0;
  return settings_.temperature == 0 ? 1 : settings_.top_k;
}

TokenId Sampler::sample_best(std::span<const RankedToken> best, uint64_t stream, int position, Workspace& ws) const {
  const auto none = std::find_if(best.begin(), best.end(), [](const RankedToken& t) { return t.token < 0; });
  const std::span<const RankedToken> tokens(best.begin(), none);
  if (tokens.empty()) return 0;
  if (settings_.temperature == 0 || !std::isfinite(tokens[0].logit)) return tokens[0].token;
  ws.candidates.clear();
  for (const RankedToken& token : tokens.first(std::min(tokens.size(), usize(settings_.top_k)))) {
    ws.candidates.push_back({token.logit, 0, token.token});
  }
  filter_top(tokens[0].logit, ws);
  return draw(std::span<const Candidate>(ws.candidates), keyed_uniform(settings_.seed, stream, position));
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history, uint64_t stream, int position,
                        Workspace& workspace, std::span<const uint32_t> allowed) const {
  S3D_CHECK(!logits.empty());
  const softmax::LargestNumber raw = largest_number_of(logits);
  workspace.finite = raw.all_finite;
  const std::span<const float> values = adjusted(logits, history, allowed, workspace);
  const bool same = values.data() == logits.data();
  const float largest = same ? raw.value : largest_of(values);
  if (!std::isfinite(largest) && !allowed.empty()) return first_allowed(allowed, logits.size());
  if (settings_.temperature == 0 || !std::isfinite(largest)) return first_with(values, largest);
  const double u = keyed_uniform(settings_.seed, stream, position);
  if (filters()) {
    filter(values, largest, workspace);
    return draw(std::span<const Candidate>(workspace.candidates), u);
  }
  weigh(values, largest, settings_.temperature, workspace.weights);
  return draw(std::span<const float>(workspace.weights), u);
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history, uint64_t stream,
                        int position) const {
  Workspace workspace;
  return sample(logits, history, stream, position, workspace);
}

std::vector<float> Sampler::probabilities(std::span<const float> logits, std::span<const TokenId> history) const {
  S3D_CHECK(!logits.empty());
  Workspace ws;
  const std::span<const float> values = adjusted(logits, history, {}, ws);
  const float largest = largest_of(values);
  std::vector<float> out(logits.size(), 0.0F);
  if (settings_.temperature == 0 || !std::isfinite(largest)) {
    out[first_with(values, largest)] = 1;
    return out;
  }
  if (filters()) {
    filter(values, largest, ws);
    for (const Candidate& c : ws.candidates) out[c.token] = c.weight;
  } else {
    weigh(values, largest, settings_.temperature, out);
  }
  const double total = sum_of(out);
  for (float& p : out) p = static_cast<float>(static_cast<double>(p) / total);
  return out;
}

}  // namespace s3d
