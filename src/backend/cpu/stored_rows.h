// Rows of activations in every format that the matrices reading them need.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "base/index.h"
#include "kernels/kernels.h"

namespace s3d {

// A set of ActFormats.
class FormatSet {
 public:
  FormatSet() = default;
  FormatSet(std::initializer_list<const PackedMatrix*> readers) {
    for (const PackedMatrix* w : readers) {
      if (!w->empty()) bits_ |= bit(act_format(w->type()));  // a matrix may be another backend's
    }
  }
  void add(FormatSet other) { bits_ |= other.bits_; }
  friend FormatSet operator|(FormatSet a, FormatSet b) {
    a.add(b);
    return a;
  }
  bool has(ActFormat format) const { return (bits_ & bit(format)) != 0; }

 private:
  static unsigned bit(ActFormat format) { return 1U << static_cast<unsigned>(format); }
  unsigned bits_ = 0;
};

// Thread rule: resize() by one thread; store() of different rows at once.
class StoredRows {
 public:
  void resize(FormatSet formats, size_t n, size_t cols, int tile) {
    for (const ActFormat format : kFormats) {
      if (formats.has(format)) of(format).resize(format, n, cols, tile);
    }
  }

  // Stores row `row` ([cols] floats) in each of `formats`, which resize() must have been given.
  void store(const Kernels& kernels, const float* src, FormatSet formats, size_t row) {
    for (const ActFormat format : kFormats) {
      if (formats.has(format)) kernels.store_activation(src, of(format), row);
    }
  }

  // The rows in the format that `w` reads.
  const Activations& for_matrix(const PackedMatrix& w) const { return stored_[usize(act_format(w.type()))]; }

  size_t bytes() const {
    size_t total = 0;
    for (const Activations& stored : stored_) total += stored.bytes();
    return total;
  }

 private:
  static constexpr ActFormat kFormats[] = {ActFormat::kF32, ActFormat::kQ8_32, ActFormat::kQ8_256};
  Activations& of(ActFormat format) { return stored_[usize(format)]; }

  std::array<Activations, std::size(kFormats)> stored_;
};

}  // namespace s3d
