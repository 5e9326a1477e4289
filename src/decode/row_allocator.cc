#include "decode/row_allocator.h"

#include <algorithm>
#include <cstddef>

#include "base/index.h"

namespace s3d {
namespace {

struct Node {
  double path;
  size_t wish;
  int index;
};

// All drafted nodes, likelier paths first; of equal ones those of the earlier sequence, and parents before children.
std::vector<Node> likeliest_first(std::span<const RowWish> wishes) {
  std::vector<Node> nodes;
  for (size_t w = 0; w < wishes.size(); ++w) {
    for (size_t i = 0; i < wishes[w].paths.size(); ++i) nodes.push_back({wishes[w].paths[i], w, static_cast<int>(i)});
  }
  std::stable_sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) { return a.path > b.path; });
  return nodes;
}

// How many of `nodes` are worth a row when `sure` tokens come from the `rows` rows that are there anyway.
size_t worth_a_row(std::span<const Node> nodes, int sure, int rows, const PassCosts& costs, const RowLimits& limits) {
  const auto rate = [&](double tokens, size_t n) {
    const double seconds = limits.spent_seconds + costs.of(rows + static_cast<int>(n));
    return seconds > 0 ? tokens / seconds : 0;
  };
  double tokens = sure;
  double best_rate = rate(tokens, 0);
  size_t best = 0;
  for (size_t n = 1; n <= nodes.size(); ++n) {
    tokens += nodes[n - 1].path;
    const double now = rate(tokens, n);
    if (now <= best_rate) continue;
    best_rate = now;
    best = n;
  }
  return best;
}

// Rows that prompts may have in a pass that has `rows` already.
int room_for_prompts(int rows, bool decoding, const PassCosts& costs, const RowLimits& limits) {
  const int most = std::max(0, limits.rows - rows);
  if (!decoding || limits.step_seconds <= 0 || !costs.known()) return most;
  const double left = limits.step_seconds - limits.spent_seconds;
  int room = 0;  // costs rise with the rows
  while (room < most && costs.of(rows + room + 1) <= left) ++room;
  return std::clamp(room, std::min(most, limits.least_prompt_rows), most);
}

void grant_prompts(std::span<const RowWish> wishes, int room, std::vector<RowGrant>& grants) {
  std::vector<size_t> order;
  for (size_t w = 0; w < wishes.size(); ++w) {
    if (wishes[w].prompt_rows > 0) order.push_back(w);
  }
  constexpr int kAgeing = 16;  // rows
  const auto urgency = [&](size_t w) { return wishes[w].prompt_rows - kAgeing * wishes[w].waited; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return urgency(a) < urgency(b); });
  for (const size_t w : order) {
    grants[w].prompt_rows = std::min(room, wishes[w].prompt_rows);
    room -= grants[w].prompt_rows;
  }
}

}  // namespace

std::vector<RowGrant> allocate_rows(std::span<const RowWish> wishes, const PassCosts& costs, const RowLimits& limits) {
  std::vector<RowGrant> grants(wishes.size());
  int decoding = 0, whole = 0, riders = 0;
  bool prompts = false;
  for (const RowWish& wish : wishes) {
    if (wish.prompt_rows == 0) ++decoding;
    prompts = prompts || wish.prompt_rows > 0;
    riders += wish.riders;
  }
  // Drafts leave room for the least that prompts get.
  const int for_prompts = prompts ? std::min(limits.least_prompt_rows, limits.rows / 2) : 0;
  const int for_drafts = std::max(0, limits.rows - for_prompts - decoding - riders);
  for (size_t w = 0; w < wishes.size(); ++w) {
    const int granted = std::min(wishes[w].whole_draft, for_drafts - whole);
    for (int i = 0; i < granted; ++i) grants[w].nodes.push_back(i);
    whole += std::max(0, granted);
  }
  std::vector<Node> nodes = likeliest_first(wishes);
  nodes.resize(std::min(nodes.size(), usize(std::max(0, for_drafts - whole))));
  const size_t drafted = worth_a_row(nodes, decoding, decoding + riders + whole, costs, limits);
  for (size_t n = 0; n < drafted; ++n) grants[nodes[n].wish].nodes.push_back(nodes[n].index);
  for (RowGrant& grant : grants) std::sort(grant.nodes.begin(), grant.nodes.end());
  const int rows = decoding + riders + whole + static_cast<int>(drafted);
  grant_prompts(wishes, room_for_prompts(rows, decoding > 0, costs, limits), grants);
  return grants;
}

}  // namespace s3d
