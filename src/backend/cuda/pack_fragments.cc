#include "backend/cuda/pack_fragments.h"

#include <cstdint>
#include <cstring>

#include "backend/cuda/fragment_layout.h"
#include "quant/r16.h"

namespace s3d::cuda {
namespace {

uint32_t word_at(const uint8_t* p) {
  uint32_t w;
  std::memcpy(&w, p, sizeof w);
  return w;
}
void put_word(uint8_t* p, uint32_t w) {
  std::memcpy(p, &w, sizeof w);
}

bool is_k_quant(ggml_type type) {
  return r16::layout(type).k == 256;
}
unsigned high_bits(ggml_type type) {
  if (type == GGML_TYPE_Q6_K) return 2;
  return type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1 || type == GGML_TYPE_Q5_K ? 1 : 0;
}

// One block of r16: 64 or 256 columns, of which `columns` are there.
class Chunk {
 public:
  Chunk(ggml_type type, const uint8_t* block, size_t columns, uint8_t* out)
      : type_(type), from_(r16::layout(type)), to_(fragment_layout(type)), in_(block), columns_(columns), out_(out) {}

  void pack() const {
    for (size_t piece = 0; piece * 32 < columns_; ++piece) {
      for (size_t row = 0; row < kUnitRows; ++row) pack_piece(piece, row);
    }
    is_k_quant(type_) ? pack_k_scales() : pack_scales();
  }

 private:
  // Low bits (a nibble or a byte for each column) and high bits of word i, 0 … 7, of a piece.
  uint32_t low_word(size_t piece, size_t row, size_t i) const {
    const uint8_t* at = line_of(piece, i) + from_.q + 4 * row;
    const size_t group = group_in_run(piece, i);
    if (type_ == GGML_TYPE_Q8_0) return word_at(at + group * r16::kLine);
    return word_at(at + group / 2 * r16::kLine) >> (group % 2 * 4) & 0x0f0f0f0fU;
  }
  uint32_t high_word(size_t piece, size_t row, size_t i) const {
    const unsigned bits = high_bits(type_);
    const uint32_t mask = bits == 1 ? 0x01010101U : 0x03030303U;
    return word_at(line_of(piece, i) + from_.qh + 4 * row) >> (group_in_run(piece, i) * bits) & mask;
  }
  size_t group_in_run(size_t piece, size_t i) const { return (piece * 8 + i) % r16::run_groups(type_); }
  const uint8_t* line_of(size_t piece, size_t i) const {
    return in_ + (piece * 8 + i) / r16::run_groups(type_) * from_.run;
  }

  void pack_piece(size_t piece, size_t row) const {
    const size_t g = row % 8, upper = row / 8, pair = piece / 2, in_pair = piece % 2;
    uint8_t* low = out_ + to_.low + pair * to_.low_pair;
    for (size_t t = 0; t < 4; ++t) {
      const size_t lane = g * 4 + t;
      const uint32_t first = low_word(piece, row, t), second = low_word(piece, row, t + 4);
      if (type_ == GGML_TYPE_Q8_0) {
        put_word(low + in_pair * 512 + lane * 16 + upper * 4, first);
        put_word(low + in_pair * 512 + lane * 16 + 8 + upper * 4, second);
      } else {
        put_word(low + lane * 16 + in_pair * 8 + upper * 4, first | second << 4);
      }
    }
    uint8_t* high = out_ + to_.high + pair * to_.high_pair;
    if (high_bits(type_) == 1) {
      uint32_t bits = 0;
      for (size_t i = 0; i < 8; ++i) bits |= high_word(piece, row, i) << i;
      put_word(high + g * 16 + in_pair * 8 + upper * 4, bits);
    } else if (high_bits(type_) == 2) {
      for (size_t half = 0; half < 2; ++half) {
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; ++i) bits |= high_word(piece, row, half * 4 + i) << (2 * i);
        put_word(high + g * 32 + in_pair * 16 + upper * 8 + half * 4, bits);
      }
    }
  }

  void pack_scales() const {
    for (size_t piece = 0; piece * 32 < columns_; ++piece) {
      for (size_t row = 0; row < kUnitRows; ++row) {
        const size_t from = (piece * kUnitRows + row) * 2, to = row % 8 * 8 + piece * 4 + row / 8 * 2;
        std::memcpy(out_ + to_.scale + to, in_ + from_.d + from, 2);
        if (from_.m != 0) std::memcpy(out_ + to_.minimum + to, in_ + from_.m + from, 2);
      }
    }
  }

  void pack_k_scales() const {
    const bool q6 = type_ == GGML_TYPE_Q6_K;
    const size_t d_step = q6 ? 4 : 8;
    for (size_t row = 0; row < kUnitRows; ++row) {
      const size_t g = row % 8, upper = row / 8;
      for (size_t s = 0; s < (q6 ? 16 : 8); ++s) {
        const size_t in_pairs = (s / 2 * kUnitRows + row) * 2 + s % 2;
        if (q6) {
          out_[to_.scale + g * 32 + upper * 16 + s] = in_[from_.sc + in_pairs];
        } else {
          out_[to_.scale + g * 16 + upper * 8 + s] = in_[from_.sc + s * kUnitRows + row];
          out_[to_.minimum + g * 16 + upper * 8 + s] = in_[from_.mn + in_pairs];
        }
      }
      std::memcpy(out_ + to_.d + g * d_step + upper * 2, in_ + from_.d + row * 2, 2);
      if (!q6) std::memcpy(out_ + to_.d + g * d_step + 4 + upper * 2, in_ + from_.m + row * 2, 2);
    }
  }

  ggml_type type_;
  r16::Layout from_;
  FragmentLayout to_;
  const uint8_t* in_;
  size_t columns_;
  uint8_t* out_;
};

}  // namespace

size_t fragment_bytes(const PackedMatrix& matrix) {
  return matrix.units() * fragment_unit_bytes(matrix.type(), matrix.cols());
}

void pack_fragments(const PackedMatrix& matrix, size_t begin, size_t end, std::byte* out) {
  const ggml_type type = matrix.type();
  const FragmentLayout lay = fragment_layout(type);
  const size_t unit_bytes = fragment_unit_bytes(type, matrix.cols()), from_bytes = r16::layout(type).bytes;
  std::memset(out, 0, (end - begin) * unit_bytes);
  for (size_t u = begin; u < end; ++u, out += unit_bytes) {
    if (lay.columns == 1) {
      std::memcpy(out, matrix.unit(u), unit_bytes);
      continue;
    }
    const auto* unit = reinterpret_cast<const uint8_t*>(matrix.unit(u));
    auto* to = reinterpret_cast<uint8_t*>(out);
    for (size_t k = 0; k < matrix.cols(); k += lay.columns) {
      const size_t columns = matrix.cols() - k < lay.columns ? matrix.cols() - k : lay.columns;
      Chunk(type, unit + k / lay.columns * from_bytes, columns, to + k / lay.columns * lay.bytes).pack();
    }
  }
}

}  // namespace s3d::cuda
