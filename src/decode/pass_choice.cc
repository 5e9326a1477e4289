#include "decode/pass_choice.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/index.h"

namespace s3d {

PassChoice::PassChoice(int drafters) : gates_(usize(drafters), DraftGate(drafters)) {}

int PassChoice::choose(std::span<const double> promised, const RoundRates& rates) {
  S3D_CHECK(promised.size() == gates_.size());
  std::vector<int> order(gates_.size());
  std::iota(order.begin(), order.end(), 0);
  // The usual one first: it need not be better than those who would like to take its place.
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return (a == usual_) != (b == usual_) ? a == usual_ : promised[usize(a)] > promised[usize(b)];
  });
  usual_ = -1;
  bar_ = rates.free;
  for (const int i : order) {
    if (!gates_[usize(i)].is_worth(promised[usize(i)], bar_)) continue;
    if (usual_ >= 0) gates_[usize(usual_)].close();
    usual_ = i;
    bar_ = promised[usize(i)];
  }
  chosen_ = usual_;
  probing_ = false;
  for (const int i : order) {
    if (i == usual_ || probing_ || !gates_[usize(i)].wants_probe(rates.free, rates.plain, rates.sequences)) continue;
    chosen_ = i;
    probing_ = true;
  }
  return chosen_;
}

void PassChoice::learn_probe(bool accepted, double rate) {
  S3D_CHECK(probing_);
  DraftGate& gate = gates_[usize(chosen_)];
  usual_ < 0 ? gate.learn_probe(accepted) : gate.learn_contest(rate > bar_);
}

}  // namespace s3d
