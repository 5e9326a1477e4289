#include "backend/cuda/memory_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/tasks.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

constexpr int64_t kLogitRows = 64;  // of a pass, at most: prompts that are scored want no more at once

size_t bytes_of(const MatrixSize& matrix) {
  return (matrix.rows + kUnitRows - 1) / kUnitRows * fragment_unit_bytes(matrix.type, matrix.cols);
}

// Matrices, norms and biases.
size_t bytes_of_layer(const Model& model, int layer) {
  const ModelConfig& c = model.config;
  size_t bytes = usize(4 * int64_t{c.d_model} + 3 * c.q_dim() + 3 * c.kv_dim()) * sizeof(float);
  for (const MatrixSize& matrix : layer_matrices(model, layer)) bytes += bytes_of(matrix);
  return bytes;
}

// Floats that a pass keeps for each row, roughly: what CudaPass::ensure_buffers asks for.
size_t floats_of_row(const ModelConfig& c, int64_t context) {
  const int64_t segments = context / AttentionTask::kSegment + 1;
  const int64_t partials = segments * c.n_heads * (2 + c.head_dim);
  return usize(4 * int64_t{c.d_model} + 3 * c.q_dim() + 2 * c.kv_dim() + 3 * c.d_ff + partials);
}

// Every division that is tried is one of the last `count` layers.
using Division = std::optional<LayerDivision>;

int layers_of(const MemoryNeeds& needs) {
  return isize(needs.weights);
}

bool fits(const MemoryNeeds& needs, std::span<const CardMemory> cards, const LayerDivision& division) {
  int end = layers_of(needs);
  for (int card = isize(cards) - 1; card >= 0; --card) {
    const int count = division.layers[usize(card)];
    if (count == 0 && card != division.last) continue;
    if (needs_of(needs, end - count, end).all() > cards[usize(card)].bytes) return false;
    end -= count;
  }
  return true;
}

Division all_on_one(const MemoryNeeds& needs, std::span<const CardMemory> cards, int count) {
  for (int card = 0; card < isize(cards); ++card) {
    LayerDivision division{std::vector<int>(cards.size()), card};
    division.layers[usize(card)] = count;
    if (fits(needs, cards, division)) return division;
  }
  return {};
}

// Layer i of `count` lies on the card within whose part of the shares i / count falls.
LayerDivision by_shares(std::span<const double> shares, int count) {
  LayerDivision division{std::vector<int>(shares.size()), 0};
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double before = 0;
  int first = 0;
  for (size_t card = 0; card < shares.size(); ++card) {
    before += shares[card];
    const bool is_rest = card + 1 == shares.size();
    const int end = is_rest ? count : static_cast<int>(std::lround(count * before / sum));
    division.layers[card] = end - first;
    if (end > first || (count == 0 && shares[card] > 0)) division.last = static_cast<int>(card);
    first = end;
  }
  return division;
}

// As many layers as each card holds, from the last one down.
Division filled(const MemoryNeeds& needs, std::span<const CardMemory> cards, int count) {
  for (int last = isize(cards) - 1; last >= 0; --last) {
    LayerDivision division{std::vector<int>(cards.size()), last};
    int left = count, end = layers_of(needs);
    for (int card = last; card >= 0 && left > 0; --card) {
      int& here = division.layers[usize(card)];
      while (here < left && needs_of(needs, end - here - 1, end).all() <= cards[usize(card)].bytes) ++here;
      left -= here;
      end -= here;
    }
    const bool on_last = count == 0 || division.layers[usize(last)] > 0;
    if (left == 0 && on_last && fits(needs, cards, division)) return division;
  }
  return {};
}

Division divided(const MemoryNeeds& needs, std::span<const CardMemory> cards, int count,
                 std::span<const double> shares) {
  if (!shares.empty()) {
    const LayerDivision division = by_shares(shares, count);
    return fits(needs, cards, division) ? Division(division) : Division();
  }
  if (Division one = all_on_one(needs, cards, count)) return one;
  std::vector<double> memory;
  for (const CardMemory& card : cards) memory.push_back(static_cast<double>(card.bytes));
  const LayerDivision even = by_shares(memory, count);
  return fits(needs, cards, even) ? Division(even) : filled(needs, cards, count);
}

std::string mebibytes(size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

CardNeeds needs_of(const MemoryNeeds& needs, int first, int end) {
  CardNeeds card{.kv = usize(end - first) * needs.kv, .buffers = needs.buffers};
  for (int layer = first; layer < end; ++layer) card.weights += needs.weights[usize(layer)];
  if (end == layers_of(needs)) card.head = needs.head;
  return card;
}

MemoryNeeds memory_needs(const Model& model, KvType type, int64_t positions, int64_t context, int max_rows,
                         size_t adapter_bytes) {
  const ModelConfig& c = model.config;
  const KvLayout one_layer{type, c.head_dim, c.n_kv_heads, 1};
  const auto pages = usize((positions + KvLayout::kPageTokens - 1) / KvLayout::kPageTokens);
  MemoryNeeds needs;
  for (int layer = 0; layer < c.n_layers; ++layer) needs.weights.push_back(bytes_of_layer(model, layer));
  needs.kv = pages * one_layer.page_bytes();
  const auto logit_rows = usize(std::min<int64_t>(max_rows, kLogitRows));
  needs.head = bytes_of(lm_head_matrix(model)) + 2 * usize(c.d_model) * sizeof(float) +
               model.lm_head_ids.size() * sizeof(int32_t) +
               logit_rows * usize(c.vocab_size + 2 * c.d_model) * sizeof(float);
  needs.buffers = adapter_bytes + usize(max_rows) * floats_of_row(c, context) * sizeof(float);
  return needs;
}

namespace {

// Of one card, or of all: what takes how much.
Error too_much(const std::string& who, int count, int n, const CardNeeds& needs, size_t bytes,
               std::string_view advice) {
  const std::string what =
      count > 0 ? fmt::format("{} of {} layers", count, n) : std::string("the LM head and the buffers alone");
  const std::string missing =
      needs.all() > bytes
          ? fmt::format("{} more than the {} that may be used", mebibytes(needs.all() - bytes), mebibytes(bytes))
          : fmt::format("and do not fit one by one into the {} of all", mebibytes(bytes));
  return Error{fmt::format("{}: {} need {} (weights {}, keys and values {}, LM head and logits {}, buffers {}), {}; {}",
                           who, what, mebibytes(needs.all()), mebibytes(needs.weights), mebibytes(needs.kv),
                           mebibytes(needs.head), mebibytes(needs.buffers), missing, advice)};
}

constexpr std::string_view kFewer = "use fewer --gpu-layers, a shorter context or a smaller --kv-type";

// The first card that the shares give too much.
Error too_large_share(const MemoryNeeds& needs, std::span<const CardMemory> cards, const LayerDivision& division) {
  const int n = layers_of(needs), count = std::accumulate(division.layers.begin(), division.layers.end(), 0);
  int first = n - count;
  for (size_t card = 0; card < cards.size(); ++card) {
    const int here = division.layers[card];
    const CardNeeds mine = needs_of(needs, first, first + here);
    if ((here > 0 || static_cast<int>(card) == division.last) && mine.all() > cards[card].bytes) {
      return too_much(fmt::format("device {} (card {})", cards[card].name, card), here, n, mine, cards[card].bytes,
                      "use other shares for --tensor-split, fewer --gpu-layers or a shorter context");
    }
    first += here;
  }
  S3D_CHECK(false, "a division that does not fit");
  return Error{""};
}

Error does_not_fit(const MemoryNeeds& needs, std::span<const CardMemory> cards, int count,
                   std::span<const double> shares) {
  if (!shares.empty()) return too_large_share(needs, cards, by_shares(shares, count));
  const int n = layers_of(needs);
  CardNeeds all = needs_of(needs, n - count, n);
  all.buffers *= cards.size();
  size_t bytes = 0;
  std::string names;
  for (const CardMemory& card : cards) {
    bytes += card.bytes;
    names += (names.empty() ? "" : ", ") + card.name;
  }
  const std::string who = fmt::format("{} {}", cards.size() == 1 ? "device" : "devices", names);
  return too_much(who, count, n, all, bytes, count > 0 ? kFewer : "use --backend cpu");
}

Status check_shares(std::span<const double> shares, size_t cards) {
  const bool valid = std::all_of(shares.begin(), shares.end(), [](double share) { return share >= 0; });
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  if (shares.empty() || (shares.size() == cards && valid && sum > 0 && std::isfinite(sum))) return Ok();
  return Error{fmt::format("--tensor-split {}: expected {} shares, one for each card, 0 or more and not all 0",
                           fmt::join(shares, ","), cards)};
}

}  // namespace

Result<LayerDivision> divide_layers(const MemoryNeeds& needs, std::span<const CardMemory> cards, int wanted,
                                    std::span<const double> shares) {
  S3D_CHECK(!cards.empty());
  S3D_TRY(check_shares(shares, cards.size()));
  const int n = layers_of(needs);
  int count = wanted < 0 ? n : std::min(wanted, n);
  const int least = wanted < 0 ? 0 : count;
  for (; count >= least; --count) {
    if (Division division = divided(needs, cards, count, shares)) return *division;
  }
  return does_not_fit(needs, cards, least, shares);
}

}  // namespace s3d::cuda
