// What the pieces of a pass of the CPU backend share: its rows, the residual stream, and the loops over matrices.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/low_rank_rows.h"
#include "backend/cpu/stored_rows.h"
#include "backend/cpu/thread_copies.h"
#include "base/aligned.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "model/weights.h"

namespace s3d {

// One matrix times the stored rows; `bias` is null or [w->rows()].
struct Product {
  const PackedMatrix* w;
  const Activations* x;
  float* y;  // [n rows][w->rows()]
  const float* bias = nullptr;
  LowRankTerm lora = {};
};

// What a sublayer reads: the residual stream behind a norm, in the formats of the matrices that read it.
struct SublayerInput {
  const std::vector<float>* norm = nullptr;  // [d_model], or empty: no norm; null: nothing is to be made
  FormatSet formats;
};

// What follows a sublayer's last product: it enters the residual stream behind a norm, and the input of the next
// sublayer is made.
struct SublayerEnd {
  const std::vector<float>& post_norm;  // [d_model], or empty: no norm
  SublayerInput next;
};

// Thread rule: functions that take a Team are called by every thread of it, in step; the others by any thread, for the
// rows (`r`) or units that it was given.
struct CpuPass {
  using Floats = AlignedFloats;

  struct Stream {
    Floats x;           // [n][d_model] the residual stream
    StoredRows normed;  // [n][d_model] a sublayer's input
  };

  // `m` and `k` must outlive the pass.
  CpuPass(const Model& m, const Kernels& k, int threads, size_t max_rows);

  // Begins a pass over these rows; one thread. `formats`: of the sublayers' inputs.
  void prepare(std::span<const Row> block_rows, FormatSet formats);

  // Takes the rows in `mixed` as the residual stream, or adds them to it behind `post_norm`; makes the next input.
  void begin_stream(Team& team, const SublayerInput& next);
  void add_to_stream(Team& team, const SublayerEnd& end);

  // Low-rank rows of the pairs of `lora`, from the rows that their matrices read.
  void low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in);
  // The last product of a sublayer, whose output is `mixed`, and what follows it.
  void end_sublayer(Team& team, const Product& product, const SublayerEnd& end);

  // The input of a sublayer from row `r` of the residual stream, if one is to be made.
  void make_input(Team& team, const SublayerInput& input, Stream& to, size_t r);
  // Units [begin, end) of the products, counted through all of them.
  void multiply(std::span<const Product> products, size_t begin, size_t end) const;
  // Units of a chunk of a loop over `units`.
  size_t grain(size_t units, size_t unit_bytes) const;

  size_t scratch_bytes() const;

  const Model& model;
  const ModelConfig& config;
  const Kernels& kernels;
  const FloatKernels& floats;
  const size_t threads;
  const size_t d_model;

  std::span<const Row> rows;  // of the pass in progress
  size_t n = 0;               // rows

  // Buffers; each has room for max_rows rows.
  ThreadCopies<Stream> stream;
  Floats mixed;                // [n][d_model] what enters the stream
  std::vector<Floats> row_of;  // [threads][d_model] a thread's row behind a norm
  LowRankRows low_rank;
};

}  // namespace s3d
