#include "backend/cuda/markov_head.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/index.h"
#include "s3d/types.h"

namespace s3d::cuda {
namespace {

constexpr int kTogether = 128;  // tokens whose z is computed at once

}  // namespace

Status MarkovHead::out_of_memory() const {
  return Error{fmt::format("device {}: no memory left for the Markov head of an adapter ({} bytes free)",
                           device_.name(), device_.free_bytes())};
}

// Buffers for z of `tokens` tokens, and for the logits of `scored` of them.
Status MarkovHead::prepare(const DeviceAdapter& adapter, int tokens, int scored) {
  const DeviceMatrix &p = adapter.markov_p, &w2 = adapter.markov_w2;
  const size_t n = usize(tokens);
  const bool enough = embeddings_.ensure(device_, n * usize(p.cols)) && z_.ensure(device_, n * usize(p.rows)) &&
                      scored_.ensure(device_, usize(scored) * usize(w2.rows)) &&
                      ensure_input(device_, normed_, {{&p}}, tokens, p.cols) &&
                      ensure_input(device_, low_in_, {{&w2}}, tokens, w2.cols);
  return enough ? Ok() : out_of_memory();
}

Status MarkovHead::reserve(const DeviceAdapter& adapter) {
  return prepare(adapter, kTogether, kMaxRoundRows);
}

// z of some tokens, to [tokens, rank] on the device.
Status MarkovHead::start_z(const DeviceAdapter& adapter, std::span<const TokenId> tokens, float* z) {
  const DeviceMatrix& p = adapter.markov_p;
  const size_t d = usize(p.cols);
  std::vector<float> embeddings(tokens.size() * d);
  for (size_t i = 0; i < tokens.size(); ++i) model_.embed(tokens[i], &embeddings[i * d]);
  model_.file->release_pages(*model_.token_embedding);
  if (!embeddings_.assign(device_, embeddings)) return out_of_memory();
  device_.kernels().rows(device_.stream(), {.step = RowStep::kNorm,
                                            .x = embeddings_.data(),
                                            .weight = ones_.data(),
                                            .eps = model_.config.norm_eps,
                                            .n = isize(tokens),
                                            .cols = p.cols,
                                            .stored = normed_.input(InputBuffers::bit(p.format()))});
  Product shrink[] = {{p, {.y = z, .ld = p.rows}}};
  multiply(device_, normed_, shrink, isize(tokens));
  return Ok();
}

Status MarkovHead::terms(const DeviceAdapter& adapter, std::span<const TokenId> tokens, std::vector<float>& z,
                         std::vector<float>& sums) {
  const DeviceMatrix& w2 = adapter.markov_w2;
  const int n = isize(tokens);
  S3D_TRY(prepare(adapter, n, n));
  S3D_TRY(start_z(adapter, tokens, z_.data()));
  device_.kernels().rows(
      device_.stream(),
      {.x = z_.data(), .n = n, .cols = w2.cols, .stored = low_in_.input(InputBuffers::bit(w2.format()))});
  Product grow[] = {{w2, {.y = scored_.data(), .ld = w2.rows}}};
  multiply(device_, low_in_, grow, n);
  S3D_TRY(device_.synchronize());
  z = z_.download(tokens.size() * usize(w2.cols));
  sums = scored_.download(tokens.size() * usize(w2.rows));
  return Ok();
}

// Row 0 is for no token at all, row 1 + i for token i of the draft vocabulary.
Status MarkovHead::fill_table(DeviceAdapter& adapter, const PackedAdapter& packed) {
  if (adapter.markov_z_filled) return Ok();
  const size_t rank = usize(adapter.markov_p.rows), size = packed.draft_size();
  S3D_CHECK(adapter.markov_z.size() == rank * (1 + size), "a table for every token that can be drafted");
  float* table = adapter.markov_z.data();
  const std::vector<float> none(rank);
  device_.upload(reinterpret_cast<std::byte*>(table), none.data(), rank * sizeof(float));
  std::vector<TokenId> tokens;
  for (size_t begin = 0; begin < size; begin += kTogether) {
    tokens.clear();
    for (size_t i = begin; i < std::min(size, begin + kTogether); ++i) tokens.push_back(packed.draft_token(i));
    S3D_TRY(start_z(adapter, tokens, table + (1 + begin) * rank));
  }
  adapter.markov_z_filled = true;
  return Ok();
}

// scored = logits + W2 z, of one row; z is row `index` of a table, or the only one.
void MarkovHead::start_step(const DeviceAdapter& adapter, const float* z, const int32_t* index, const float* logits,
                            float* z_out) {
  const DeviceMatrix& w2 = adapter.markov_w2;
  device_.kernels().rows(device_.stream(), {.x = z,
                                            .index = index,
                                            .n = 1,
                                            .cols = w2.cols,
                                            .out = z_out,
                                            .stored = low_in_.input(InputBuffers::bit(w2.format()))});
  Product grow[] = {{w2, {.y = scored_.data(), .ld = w2.rows, .addend = logits}}};
  multiply(device_, low_in_, grow, 1);
}

Status MarkovHead::choose(DeviceAdapter& adapter, const PackedAdapter& packed, const float* logits, int rows,
                          TokenId previous, const ChoiceAsk& ask, TokenChooser& chooser, Choices& out) {
  const int size = static_cast<int>(packed.draft_size());
  const size_t rank = usize(adapter.markov_p.rows);
  S3D_TRY(prepare(adapter, std::max(rows + 1, kTogether), 1));
  S3D_TRY(fill_table(adapter, packed));
  S3D_TRY(chooser.prepare(rows, size, ask));
  float* first = z_.data() + usize(rows) * rank;  // behind what the rows leave
  S3D_TRY(start_z(adapter, {&previous, 1}, first));
  for (int i = 0; i < rows; ++i) {
    const bool begins = i == 0;
    start_step(adapter, begins ? first : adapter.markov_z.data(), begins ? nullptr : chooser.next(i - 1),
               logits + usize(i) * usize(size), z_.data() + usize(i) * rank);
    chooser.start(scored_.data(), i, 1);
  }
  S3D_TRY(chooser.fetch(out));
  out.z = z_.download(usize(rows) * rank);
  return Ok();
}

size_t MarkovHead::bytes() const {
  return embeddings_.bytes() + z_.bytes() + scored_.bytes() + normed_.bytes() + low_in_.bytes();
}

}  // namespace s3d::cuda
