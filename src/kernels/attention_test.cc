#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/float_ops.h"
#include "kernels/kernels.h"
#include "kernels/test_sets.h"

namespace s3d {
namespace {

using Floats = std::vector<float>;

Floats random_floats(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// Slots of one sequence with one layer and one key-value head; slot s holds the key and value of `content[s]`.
struct Slots {
  Slots(const FloatKernels& k, KvType type, int head_dim, const std::vector<int>& content, const Floats& keys,
        const Floats& values)
      : layout{type, head_dim, 1, 1} {
    const size_t n_pages = content.size() / KvLayout::kPageTokens + 1;
    // What no row may see is not a number.
    memory.assign(n_pages * layout.page_bytes(), std::byte{0xff});
    for (size_t p = 0; p < n_pages; ++p) pages.push_back(memory.data() + p * layout.page_bytes());
    for (size_t s = 0; s < content.size(); ++s) {
      std::byte* page = memory.data() + s / KvLayout::kPageTokens * layout.page_bytes();
      const int in_page = static_cast<int>(s % KvLayout::kPageTokens);
      const size_t from = static_cast<size_t>(content[s]) * static_cast<size_t>(head_dim);
      k.write_key(layout, keys.data() + from, in_page, page + layout.key_head_offset(0, 0));
      k.write_value(layout, values.data() + from, in_page, page + layout.value_head_offset(0, 0));
    }
  }

  KvLayout layout;
  std::vector<std::byte> memory;
  std::vector<const std::byte*> pages;
};

// Runs a task over all its segments and returns [n_rows][heads][head_dim].
Floats attend(const FloatKernels& k, const AttentionTask& task, int segments) {
  const size_t stride = partial_floats(*task.layout), head_dim = static_cast<size_t>(task.layout->head_dim);
  const size_t queries = static_cast<size_t>(task.n_rows * task.heads);
  Floats scores(AttentionTask::kMaxQueries * AttentionTask::kSegment), partial(queries * stride),
      state(queries * stride), out(queries * head_dim);
  for (int s = 0; s < segments; ++s) {
    k.attend_segment(task, s, scores.data(), partial.data());
    for (size_t q = 0; q < queries; ++q) k.merge_partial(&partial[q * stride], head_dim, &state[q * stride]);
  }
  for (size_t q = 0; q < queries; ++q) k.finish(&state[q * stride], head_dim, &out[q * head_dim]);
  return out;
}

struct Case {
  KvType type;
  int head_dim;
  int length;  // positions that the last row sees
  int window;  // 0 = none
  float softcap = 0;
};

class AttentionTest : public testing::TestWithParam<Case> {
 protected:
  static constexpr int kHeads = 3;

  AttentionTest() {
    const size_t n = static_cast<size_t>(GetParam().length * GetParam().head_dim);
    keys_ = random_floats(n, 1);
    values_ = random_floats(n, 2);
    for (int i = 0; i < GetParam().length; ++i) identity_.push_back(i);
    q_ = random_floats(static_cast<size_t>(AttentionTask::kMaxQueries * GetParam().head_dim), 3);
  }

  int begin(int end) const { return GetParam().window == 0 ? 0 : std::max(0, end - GetParam().window); }
  AttentionTask::Row chain_row(int end, size_t query = 0) const {
    return {q_.data() + query * static_cast<size_t>(GetParam().head_dim), nullptr, begin(end), end, end, nullptr};
  }
  static AttentionTask make_task(const Slots& slots, int heads, const std::vector<AttentionTask::Row>& rows) {
    AttentionTask task{&slots.layout,
                       slots.pages.data(),
                       slots.layout.key_head_offset(0, 0),
                       slots.layout.value_head_offset(0, 0),
                       0.25F,
                       GetParam().softcap,
                       heads,
                       static_cast<int>(rows.size()),
                       {}};
    for (size_t i = 0; i < rows.size(); ++i) task.rows[i] = rows[i];
    return task;
  }
  int segments() const { return GetParam().length / AttentionTask::kSegment + 1; }

  Floats keys_, values_, q_;
  std::vector<int> identity_;
};

TEST_P(AttentionTest, MatchesDoublePrecision) {
  const auto [type, head_dim, length, window, cap] = GetParam();
  const FloatKernels& k = *available_kernels().back()->floats;
  const Slots slots(k, type, head_dim, identity_, keys_, values_);
  const Floats out = attend(k, make_task(slots, kHeads, {chain_row(length)}), segments());
  // Of the value's spread (1): rounding of scores and of stored numbers.
  const double tolerance = type == KvType::kF32 ? 1e-5 : type == KvType::kF16 ? 5e-3 : 5e-2;
  for (int h = 0; h < kHeads; ++h) {
    std::vector<double> exact(static_cast<size_t>(head_dim));
    double total = 0;
    for (int p = begin(length); p < length; ++p) {
      double score = 0;
      for (int d = 0; d < head_dim; ++d) {
        score += static_cast<double>(q_[static_cast<size_t>(h * head_dim + d)]) *
                 keys_[static_cast<size_t>(p * head_dim + d)];
      }
      const double scaled = 0.25 * score;
      const double weight = std::exp(cap == 0 ? scaled : cap * std::tanh(scaled / cap));
      total += weight;
      for (int d = 0; d < head_dim; ++d) {
        exact[static_cast<size_t>(d)] += weight * values_[static_cast<size_t>(p * head_dim + d)];
      }
    }
    for (int d = 0; d < head_dim; ++d) {
      ASSERT_NEAR(out[static_cast<size_t>(h * head_dim + d)], exact[static_cast<size_t>(d)] / total, tolerance);
    }
  }
}

TEST_P(AttentionTest, InstructionSetsAgree) {
  Floats first;
  for (const Kernels* kernels : sets_for_tests()) {
    const FloatKernels& k = *kernels->floats;
    const Slots slots(k, GetParam().type, GetParam().head_dim, identity_, keys_, values_);
    const Floats out = attend(k, make_task(slots, kHeads, {chain_row(GetParam().length)}), segments());
    if (first.empty()) first = out;
    EXPECT_EQ(std::memcmp(first.data(), out.data(), out.size() * sizeof(float)), 0) << kernels->name;
  }
}

// Up to six rows of a chain, and up to six heads, share a task: each gives the bits that it gives alone.
TEST_P(AttentionTest, SharingATaskChangesNothing) {
  const auto [type, head_dim, length, window, cap] = GetParam();
  const size_t dims = static_cast<size_t>(head_dim);
  for (const Kernels* kernels : sets_for_tests()) {
    const FloatKernels& k = *kernels->floats;
    const Slots slots(k, type, head_dim, identity_, keys_, values_);
    const int n_rows = std::min(AttentionTask::kMaxQueries, length);
    std::vector<AttentionTask::Row> rows;
    for (int r = 0; r < n_rows; ++r) rows.push_back(chain_row(length - n_rows + 1 + r, static_cast<size_t>(r)));
    for (int n = 1; n <= n_rows; ++n) {
      const Floats together = attend(k, make_task(slots, 1, {rows.end() - n, rows.end()}), segments());
      for (int r = 0; r < n; ++r) {
        const Floats alone = attend(k, make_task(slots, 1, {rows[static_cast<size_t>(n_rows - n + r)]}), segments());
        ASSERT_EQ(std::memcmp(alone.data(), &together[static_cast<size_t>(r) * dims], dims * sizeof(float)), 0)
            << kernels->name << ", row " << r << " of " << n;
      }
    }
    const Floats heads = attend(k, make_task(slots, AttentionTask::kMaxQueries, {chain_row(length)}), segments());
    for (size_t h = 0; h < AttentionTask::kMaxQueries; ++h) {
      const Floats alone = attend(k, make_task(slots, 1, {chain_row(length, h)}), segments());
      ASSERT_EQ(std::memcmp(alone.data(), &heads[h * dims], dims * sizeof(float)), 0)
          << kernels->name << ", head " << h;
    }
  }
}

// The last positions lie scattered over slots after the committed ones, as the rows of a tree do.
TEST_P(AttentionTest, PathsGiveTheBitsOfAChain) {
  const auto [type, head_dim, length, window, cap] = GetParam();
  const size_t dims = static_cast<size_t>(head_dim);
  for (const Kernels* kernels : sets_for_tests()) {
    const FloatKernels& k = *kernels->floats;
    const Slots chain(k, type, head_dim, identity_, keys_, values_);
    for (const int on_path : {1, 5, 40}) {
      if (on_path > length) continue;
      const int committed = length - on_path;
      std::vector<int> content(identity_.begin(), identity_.begin() + committed), path;
      for (int i = 0; i < on_path; ++i) {
        for (int junk = 0; junk <= i % 3; ++junk) content.push_back(0);  // other branches
        path.push_back(static_cast<int>(content.size()));
        content.push_back(committed + i);
      }
      const Slots tree(k, type, head_dim, content, keys_, values_);
      const auto tree_row = [&](int end, size_t query) {
        AttentionTask::Row row = chain_row(end, query);
        row.contiguous = std::max(committed, row.begin);
        row.path = path.data() + (row.contiguous - committed);
        return row;
      };
      const Floats expected = attend(k, make_task(chain, kHeads, {chain_row(length)}), segments());
      const Floats out = attend(k, make_task(tree, kHeads, {tree_row(length, 0)}), segments());
      ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0) << kernels->name;
      if (on_path == 1) continue;
      const Floats mixed = attend(k, make_task(tree, 1, {tree_row(length, 0), tree_row(length - 1, 1)}), segments());
      ASSERT_EQ(std::memcmp(mixed.data(), expected.data(), dims * sizeof(float)), 0) << kernels->name;
      const Floats second = attend(k, make_task(chain, 1, {chain_row(length - 1, 1)}), segments());
      ASSERT_EQ(std::memcmp(&mixed[dims], second.data(), dims * sizeof(float)), 0) << kernels->name;
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const KvType type : {KvType::kF16, KvType::kF32, KvType::kQ8_0}) {
    for (const int head_dim : {64, 80, 20}) {
      for (const int length : {1, 7, 64, 300, 600}) {
        for (const int window : {0, 50}) all.push_back({type, head_dim, length, window});
      }
    }
  }
  all.push_back({KvType::kF16, 256, 260, 100});
  for (const KvType type : {KvType::kF16, KvType::kF32}) all.push_back({type, 64, 300, 0, /*softcap=*/1.5F});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, testing::ValuesIn(cases()));

}  // namespace
}  // namespace s3d
