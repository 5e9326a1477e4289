// What the kernels are given: plain structs with addresses in the device's memory. No CUDA in this header.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kv_layout.h"

namespace s3d::cuda {

// Rows of activations in the formats that were asked for (fragment_layout.h); null: that format was not.
struct StoredInput {
  int8_t* q32 = nullptr;    // 32 columns a scale
  void* scale32 = nullptr;  // { float, int32 }
  int8_t* q256 = nullptr;   // 256 columns a scale
  float* scale256 = nullptr;
  int16_t* sums16 = nullptr;
  int16_t* sums32 = nullptr;
  float* f = nullptr;
};

// One matrix times the stored rows.
struct MatrixProduct {
  const std::byte* weights = nullptr;  // units in the order of fragment_layout.h
  int rows = 0;                        // outputs; the last unit may hold fewer than 16
  float* y = nullptr;                  // [n][ld]
  int ld = 0;
  const float* addend = nullptr;         // [n][ld], added to the product, or null
  const uint8_t* addend_rows = nullptr;  // [n] 0: nothing is added to this row; null: to all
  const float* bias = nullptr;           // [rows], added then, or null
  const int32_t* places = nullptr;       // [rows] column of y for each output, or null: its own
  float softcap = 0;                     // then y = softcap * tanh(y / softcap); 0 = off
  bool accumulate = false;               // y += the result instead of y = it
};

// Up to three matrices of one type that read one input.
struct MatmulTask {
  static constexpr int kMost = 3;
  MatrixProduct products[kMost];
  int n_products = 0;
  ggml_type type = GGML_TYPE_F32;
  int cols = 0;
  int n = 0;  // rows of the input
  StoredInput x;
  // Division of work; no bit depends on it (matmul_shape.h chooses).
  int units_per_block = 1;
  int items_per_round = 1;  // of (unit, segment)
};

// What becomes of rows before they are stored as the input of a product.
enum class RowStep : uint8_t {
  kNone,     // x
  kNorm,     // rms_norm(x) * weight
  kSiluMul,  // silu(x) * other
  kGeluMul,  // gelu(x) * other
};

// For each row: the step, its result written to `out`, added to `residual`, normed again, stored, as far as asked for.
struct RowsTask {
  RowStep step = RowStep::kNone;
  const float* x = nullptr;        // [.][x_stride]
  int x_stride = 0;                // 0 = cols
  const int32_t* index = nullptr;  // [n] row of x of each row, or null: its own
  const float* other = nullptr;    // kSiluMul, kGeluMul: [n][cols]
  const float* weight = nullptr;   // kNorm: [cols]
  float eps = 0;
  int n = 0, cols = 0;
  float* out = nullptr;           // [n][cols] or null
  float* residual = nullptr;      // [n][cols] += the result, or null
  const uint8_t* only = nullptr;  // [n] 0: residual is left alone; or null
  StoredInput stored;
};

// The keys and values of a pass, and its queries: norm, rotation, writing.
struct PlaceTask {
  float *q = nullptr, *k = nullptr;  // [n][n_heads * head_dim], [n][n_kv_heads * head_dim]
  const float* v = nullptr;
  const float *q_norm = nullptr, *k_norm = nullptr;  // [head_dim] or null
  float eps = 0;
  const float *cos = nullptr, *sin = nullptr;  // [n][pairs]
  int pairs = 0;
  bool interleaved = false;
  int n = 0, n_heads = 0;
  KvLayout layout;
  int layer = 0;
  std::byte* const* page_of_row = nullptr;  // [n] page of the row's own slot
  const int32_t* slot_of_row = nullptr;     // [n] slot in that page
};

// What a row sees (backend/block_placement.h).
struct SeenBy {
  int32_t sequence;
  int32_t end;  // one past the last position
  int32_t contiguous;
  int32_t path_begin;  // into `paths`
};
// Rows that share the reading of keys: rows[first, first + count) of `row_order`, all of one sequence.
struct AttentionTile {
  int32_t first, count;
  int32_t first_segment, segments;  // that any of its rows sees
};

struct AttentionTask {
  static constexpr int kSegment = 256;
  const float* q = nullptr;   // [n][n_heads * head_dim]
  float* partials = nullptr;  // [n][n_heads][max_segments][2 + padded head_dim]: largest score, sum, weighted values
  StoredInput stored;         // of n_heads * head_dim columns
  KvLayout layout;
  int layer = 0;
  int n = 0, n_heads = 0;
  float scale = 0, softcap = 0;
  int window = 0;                // 0 = none
  const SeenBy* seen = nullptr;  // [n]
  const int32_t* paths = nullptr;
  const std::byte* const* pages = nullptr;  // of all sequences
  const int32_t* first_page = nullptr;      // [sequences] into `pages`
  const int32_t* row_order = nullptr;       // [n]
  const AttentionTile* tiles = nullptr;     // [n_tiles]
  int n_tiles = 0;
  int heads_per_part = 1;  // query heads of a block; with the rows of a tile at most 8 queries
  int rows_per_tile = 1;   // at most
  int max_segments = 1;
};

struct Ranked {
  int32_t token;  // -1: none
  float logit;
};
// The best tokens of each row of logits (backend/token_choice.h). A warp looks at a piece of a row.
struct ChooseTask {
  static constexpr int kPiece = 1024;
  const float* logits = nullptr;  // [n][width]
  int n = 0, width = 0;
  int best = 1;  // tokens of a row: at most 64
  // Scratch.
  Ranked* piece_best = nullptr;     // [n][pieces][best]
  uint8_t* piece_finite = nullptr;  // [n][pieces]
  float* piece_sums = nullptr;      // [n][pieces], where sums are asked for
  // Results.
  Ranked* tokens = nullptr;   // [n][best], best first
  uint8_t* finite = nullptr;  // [n]
  int32_t* next = nullptr;    // [n] 1 + the best token, 0: there is none; or null
  float* sums = nullptr;      // [n] of e^(logit - largest logit), or null
};

// Slots that move within a sequence when a path is committed, layer by layer, in order.
struct MoveTask {
  struct Move {
    const std::byte* from_page;
    std::byte* to_page;
    int32_t from, to;
  };
  KvLayout layout;
  const Move* moves = nullptr;
  int n = 0;
};

// Grid and stream of a launch.
struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

}  // namespace s3d::cuda
