#include "backend/cuda/memory_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

// Every division that is tried is one of the last `count` layers.
using Division = std::optional<LayerDivision>;

// What has to be divided.
struct Task {
  const NeedsOf& needs;
  int n_layers;
  std::span<const CardMemory> cards;
};

bool fits(const Task& task, const LayerDivision& division) {
  int end = task.n_layers;
  for (int card = isize(task.cards) - 1; card >= 0; --card) {
    const int count = division.layers[usize(card)];
    if (count == 0 && card != division.last) continue;
    if (task.needs({end - count, end}).all() > task.cards[usize(card)].bytes) return false;
    end -= count;
  }
  return true;
}

Division all_on_one(const Task& task, int count) {
  for (int card = 0; card < isize(task.cards); ++card) {
    LayerDivision division{std::vector<int>(task.cards.size()), card};
    division.layers[usize(card)] = count;
    if (fits(task, division)) return division;
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
Division filled(const Task& task, int count) {
  for (int last = isize(task.cards) - 1; last >= 0; --last) {
    LayerDivision division{std::vector<int>(task.cards.size()), last};
    int left = count, end = task.n_layers;
    for (int card = last; card >= 0 && left > 0; --card) {
      int& here = division.layers[usize(card)];
      while (here < left && task.needs({end - here - 1, end}).all() <= task.cards[usize(card)].bytes) ++here;
      left -= here;
      end -= here;
    }
    const bool on_last = count == 0 || division.layers[usize(last)] > 0;
    if (left == 0 && on_last && fits(task, division)) return division;
  }
  return {};
}

Division divided(const Task& task, int count, std::span<const double> shares) {
  if (!shares.empty()) {
    const LayerDivision division = by_shares(shares, count);
    return fits(task, division) ? Division(division) : Division();
  }
  if (Division one = all_on_one(task, count)) return one;
  std::vector<double> memory;
  for (const CardMemory& card : task.cards) memory.push_back(static_cast<double>(card.bytes));
  const LayerDivision even = by_shares(memory, count);
  return fits(task, even) ? Division(even) : filled(task, count);
}

std::string mebibytes(size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// Of one card, or of all: what takes how much.
Error too_much(const std::string& who, int count, int n, const CardNeeds& needs, size_t bytes,
               std::string_view advice) {
  const std::string what =
      count > 0 ? fmt::format("{} of {} layers", count, n) : std::string("the LM head and the buffers alone");
  const std::string missing =
      needs.all() > bytes
          ? fmt::format("{} more than the {} that may be used", mebibytes(needs.all() - bytes), mebibytes(bytes))
          : fmt::format("and do not fit one by one into the {} of all", mebibytes(bytes));
  return Error{
      fmt::format("{}: {} need {} (weights {}, keys and values {}, LM head {}, adapters {}, buffers {}), {}; {}", who,
                  what, mebibytes(needs.all()), mebibytes(needs.weights), mebibytes(needs.kv), mebibytes(needs.head),
                  mebibytes(needs.adapters), mebibytes(needs.buffers), missing, advice)};
}

constexpr std::string_view kFewer = "use fewer --gpu-layers, a shorter context or a smaller --kv-type";

// The first card that the shares give too much.
Error too_large_share(const Task& task, const LayerDivision& division) {
  const int n = task.n_layers, count = std::accumulate(division.layers.begin(), division.layers.end(), 0);
  int first = n - count;
  for (size_t card = 0; card < task.cards.size(); ++card) {
    const int here = division.layers[card];
    const CardNeeds mine = task.needs({first, first + here});
    if ((here > 0 || static_cast<int>(card) == division.last) && mine.all() > task.cards[card].bytes) {
      return too_much(fmt::format("device {} (card {})", task.cards[card].name, card), here, n, mine,
                      task.cards[card].bytes,
                      "use other shares for --tensor-split, fewer --gpu-layers or a shorter context");
    }
    first += here;
  }
  S3D_CHECK(false, "a division that does not fit");
  return Error{""};
}

Error does_not_fit(const Task& task, int count, std::span<const double> shares) {
  if (!shares.empty()) return too_large_share(task, by_shares(shares, count));
  const int n = task.n_layers;
  CardNeeds all = task.needs({n - count, n});
  all.buffers *= task.cards.size();
  size_t bytes = 0;
  std::string names;
  for (const CardMemory& card : task.cards) {
    bytes += card.bytes;
    names += (names.empty() ? "" : ", ") + card.name;
  }
  const std::string who = fmt::format("{} {}", task.cards.size() == 1 ? "device" : "devices", names);
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

Result<LayerDivision> divide_layers(const NeedsOf& needs, int n_layers, std::span<const CardMemory> cards, int wanted,
                                    std::span<const double> shares) {
  S3D_CHECK(!cards.empty());
  S3D_TRY(check_shares(shares, cards.size()));
  const Task task = {needs, n_layers, cards};
  int count = wanted < 0 ? n_layers : std::min(wanted, n_layers);
  const int least = wanted < 0 ? 0 : count;
  for (; count >= least; --count) {
    if (Division division = divided(task, count, shares)) return *division;
  }
  return does_not_fit(task, least, shares);
}

}  // namespace s3d::cuda
