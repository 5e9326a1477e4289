#include "backend/cpu/lm_head.h"

#include <algorithm>

#include "base/index.h"

namespace s3d {
namespace {

// Units of the head whose logits are put into the vocabulary's order at once, while they are in the L1 cache.
constexpr size_t kPiece = 8;

}  // namespace

void LmHead::prepare(std::span<const int> wanted, const PackedAdapter* adapter, bool want_hidden) {
  wanted_ = wanted;
  adapter_ = adapter;
  want_hidden_ = want_hidden;
  const size_t n = wanted.size();
  if (n == 0) return;
  in_.prepare(n, pass_.d_model, pass_.threads,
              [&](StoredRows& copy) { copy.resize({&head()}, n, pass_.d_model, pass_.kernels.tile); });
  if (logits_.capacity() < n * stride()) Floats().swap(logits_);  // growing would hold both for a moment
  logits_.resize(n * stride());
  if (reordered()) scattered_.resize(pass_.threads * n * kPiece * 16);
  if (want_hidden) hidden_.resize(n * pass_.d_model);
}

void LmHead::run(int thread, Team& team) {
  if (wanted_.empty()) return;
  const size_t d = pass_.d_model;
  const PackedMatrix& head = this->head();
  const bool keeps = want_hidden_ && in_.is_first(team);
  in_.each_row(team, [&](StoredRows& to, size_t i) {
    const float* row = &pass_.stream.mine(team).x[usize(wanted_[i]) * d];
    float* normed = pass_.row_of[usize(thread)].data();
    pass_.floats.rms_norm(row, pass_.model.output_norm.data(), pass_.config.norm_eps, d, normed);
    const bool drafts = adapter_ != nullptr || pass_.rows[usize(wanted_[i])].token < 0;
    if (keeps) std::copy_n(drafts ? normed : row, d, &hidden_[i * d]);
    to.store(pass_.kernels, normed, {&head}, i);
  });
  const Activations& in = in_.mine(team).for_matrix(head);
  const size_t units = (rows() + 15) / 16;
  team.for_chunks(units, pass_.grain(units, head.unit_bytes()), [&](size_t begin, size_t last) {
    reordered() ? scattered_product(thread, in, begin, last) : product(in, begin, last);
  });
}

// Logits of units [begin, end) of the head.
void LmHead::product(const Activations& in, size_t begin, size_t end) {
  pass_.kernels.matmul(head(), begin, end, in, logits_.data(), stride());
  const float cap = pass_.config.logit_softcap;
  if (cap == 0 || adapter_ != nullptr) return;  // a draft's order is not changed by a cap
  const size_t first = begin * 16, count = std::min(end * 16, stride()) - first;
  for (size_t i = 0; i < wanted_.size(); ++i) pass_.floats.softcap(cap, count, &logits_[i * stride() + first]);
}

// The same where the head was packed in another order than the vocabulary's: its rows are put into their places piece
// by piece.
void LmHead::scattered_product(int thread, const Activations& in, size_t begin, size_t end) {
  const PackedMatrix& head = pass_.model.lm_head;
  const std::vector<int32_t>& ids = pass_.model.lm_head_ids;
  const float cap = pass_.config.logit_softcap;
  constexpr size_t kWidth = kPiece * 16;
  float* piece = &scattered_[usize(thread) * wanted_.size() * kWidth];
  for (size_t unit = begin; unit < end; unit += kPiece) {
    const size_t first = unit * 16, last_unit = std::min(end, unit + kPiece),
                 last = std::min(last_unit * 16, head.rows());
    // The kernel counts outputs from the matrix's first row.
    pass_.kernels.matmul(head, unit, last_unit, in, piece - first, kWidth);
    for (size_t i = 0; i < wanted_.size(); ++i) {
      float* row = piece + i * kWidth;
      if (cap != 0) pass_.floats.softcap(cap, last - first, row);
      for (size_t r = first; r < last; ++r) logits_[i * stride() + usize(ids[r])] = row[r - first];
    }
  }
}

PassOutput LmHead::output() {
  const size_t n = wanted_.size(), row = rows();
  for (size_t i = 1; i < n && stride() != row; ++i) {  // close the gaps of padded rows
    std::copy_n(&logits_[i * stride()], row, &logits_[i * row]);
  }
  PassOutput out;
  out.logits = {logits_.data(), n * row};
  if (want_hidden_) out.hidden = {hidden_.data(), n * pass_.d_model};
  return out;
}

const PackedMatrix& LmHead::head() const {
  const PackedMatrix* own = adapter_ != nullptr ? adapter_->own_head() : nullptr;
  return own != nullptr ? *own : pass_.model.lm_head;
}

size_t LmHead::rows() const {
  return adapter_ != nullptr ? adapter_->draft_size() : usize(pass_.config.vocab_size);
}

// The last unit of a draft head may hold rows beyond it.
size_t LmHead::stride() const {
  return adapter_ != nullptr ? (rows() + 15) / 16 * 16 : rows();
}

size_t LmHead::scratch_bytes() const {
  return (logits_.capacity() + hidden_.capacity() + scattered_.capacity()) * sizeof(float) +
         in_.sum([](const StoredRows& copy) { return copy.bytes(); });
}

}  // namespace s3d
