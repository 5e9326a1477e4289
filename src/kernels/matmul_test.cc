#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/test_sets.h"
#include "quant/r16.h"

namespace s3d {
namespace {

constexpr ggml_type kTypes[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                                GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

std::vector<float> random_floats(size_t n, uint32_t seed, float outlier = 1.0F) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = normal(rng) * (i % 97 == 5 ? outlier : 1.0F);
  return x;
}

// Weights in ggml's format and as the floats that they stand for.
struct Weights {
  ggml_type type;
  size_t rows, cols;
  std::vector<std::byte> bytes;
  std::vector<float> values;
};

Weights quantized(ggml_type type, size_t rows, size_t cols, const std::vector<float>& from) {
  Weights w{type, rows, cols, {}, std::vector<float>(rows * cols)};
  w.bytes.resize(ggml_row_size(type, static_cast<int64_t>(cols)) * rows);
  ggml_quantize_chunk(type, from.data(), w.bytes.data(), 0, static_cast<int64_t>(rows), static_cast<int64_t>(cols),
                      nullptr);
  if (type == GGML_TYPE_F32) {
    w.values = from;
  } else {
    ggml_get_type_traits(type)->to_float(w.bytes.data(), w.values.data(), static_cast<int64_t>(rows * cols));
  }
  return w;
}

// Quantized bytes with every bit pattern equally likely, but finite scales: the extremes of each field.
Weights extreme(ggml_type type, size_t rows, size_t cols) {
  Weights w = quantized(type, rows, cols, random_floats(rows * cols, 7));
  std::mt19937 rng(3);
  const size_t size = ggml_type_size(type);
  for (size_t at = 0; at < w.bytes.size(); at += size) {
    for (size_t i = 0; i < size; ++i) w.bytes[at + i] = static_cast<std::byte>(rng() % 2 == 0 ? 0xff : rng());
    const ggml_fp16_t scale = ggml_fp32_to_fp16(0.01F);
    const size_t halves = type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q8_0 ? 1 : 2;
    if (type == GGML_TYPE_Q6_K) {
      std::memcpy(&w.bytes[at + size - 2], &scale, 2);
    } else {
      for (size_t h = 0; h < halves; ++h) std::memcpy(&w.bytes[at + 2 * h], &scale, 2);
    }
  }
  ggml_get_type_traits(type)->to_float(w.bytes.data(), w.values.data(), static_cast<int64_t>(rows * cols));
  return w;
}

struct BlockQ8 {
  ggml_fp16_t d;
  int8_t q[32];
};

bool is_float(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

PackedMatrix pack(const Weights& w) {
  auto packed = PackedMatrix::pack(w.type, w.bytes.data(), w.rows, w.cols, nullptr);
  EXPECT_TRUE(packed.ok());
  return std::move(packed).value();
}

// [n, rows] products, with NaN beyond each row so that a stray write shows.
std::vector<float> multiply(const Kernels& k, const PackedMatrix& w, const std::vector<float>& x, size_t n, int tile) {
  Activations act;
  act.resize(act_format(w.type()), n, w.cols(), tile);
  for (size_t i = 0; i < n; ++i) k.store_activation(x.data() + i * w.cols(), act, i);
  const size_t ld = w.rows() + 3;
  std::vector<float> y(n * ld, std::numeric_limits<float>::quiet_NaN());
  k.matmul(w, 0, w.units(), act, y.data(), ld);
  std::vector<float> dense;
  for (size_t i = 0; i < n; ++i) {
    for (size_t r = w.rows(); r < ld; ++r) EXPECT_TRUE(std::isnan(y[i * ld + r]));
    dense.insert(dense.end(), y.begin() + static_cast<long>(i * ld), y.begin() + static_cast<long>(i * ld + w.rows()));
  }
  return dense;
}

// More than one segment each. Of per-32 types 608: nine blocks of 64 and a half one.
size_t cols_for(ggml_type type) {
  return act_format(type) == ActFormat::kQ8_256 ? 768 : act_format(type) == ActFormat::kF32 ? 333 : 608;
}

class MatmulTest : public testing::TestWithParam<ggml_type> {};

TEST_P(MatmulTest, PackingKeepsEveryValue) {
  for (const Weights& w : {quantized(GetParam(), 21, cols_for(GetParam()), random_floats(21 * cols_for(GetParam()), 1)),
                           is_float(GetParam()) ? quantized(GetParam(), 16, 33, random_floats(16 * 33, 2))
                                                : extreme(GetParam(), 21, cols_for(GetParam()))}) {
    const PackedMatrix packed = pack(w);
    std::vector<float> unit(16 * w.cols);
    for (size_t row = 0; row < w.rows; ++row) {
      r16::unpack_unit(w.type, packed.unit(row / 16), w.cols, unit.data());
      EXPECT_EQ(0, std::memcmp(&unit[row % 16 * w.cols], &w.values[row * w.cols], w.cols * sizeof(float)));
    }
  }
}

// Of any instruction set, at any place: nothing that is no number gets lost when activations are rounded.
TEST_P(MatmulTest, NanAndInfinityReachEveryOutput) {
  const size_t cols = cols_for(GetParam()), rows = 17;
  const Weights w = quantized(GetParam(), rows, cols, random_floats(rows * cols, 4));
  const PackedMatrix packed = pack(w);
  for (const Kernels* set : sets_for_tests()) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const size_t at : {size_t{0}, cols / 2, cols / 2 + 1, cols - 1}) {
        std::vector<float> x = random_floats(cols, 5);
        x[at] = bad;
        for (const float y : multiply(*set, packed, x, 1, 1)) EXPECT_FALSE(std::isfinite(y)) << set->name << ' ' << at;
      }
    }
  }
}

// Activations as activation-inl.h says that the kernels see them, by the rule and not by its code.
std::vector<double> as_stored(ggml_type type, std::span<const float> row) {
  if (is_float(type)) return {row.begin(), row.end()};
  const size_t block = act_format(type) == ActFormat::kQ8_256 ? 256 : 32;
  std::vector<double> out;
  for (size_t begin = 0; begin < row.size(); begin += block) {
    const auto part = row.subspan(begin, std::min(block, row.size() - begin));
    float largest = 0;
    for (const float x : part) largest = std::max(largest, std::fabs(x));
    for (const float x : part) out.push_back(std::nearbyint(x * (127.0F / largest)) * double{largest / 127.0F});
  }
  return out;
}

// The kernels against a double-precision product of the same weights and the same stored activations: the bound is that
// of summing in float, from the norms.
TEST_P(MatmulTest, PortableMatchesDouble) {
  const size_t cols = cols_for(GetParam()), rows = 37, n = 3;
  const Weights w = quantized(GetParam(), rows, cols, random_floats(rows * cols, 4));
  const std::vector<float> x = random_floats(n * cols, 5, 40.0F);
  const std::vector<float> y = multiply(kPortableKernels, pack(w), x, n, 2);
  for (size_t i = 0; i < n; ++i) {
    const std::vector<double> stored = as_stored(GetParam(), std::span(x).subspan(i * cols, cols));
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0, norm_w = 0, norm_x = 0;
      for (size_t k = 0; k < cols; ++k) {
        const double weight = w.values[r * cols + k];
        sum += weight * stored[k];
        norm_w += weight * weight;
        norm_x += stored[k] * stored[k];
      }
      EXPECT_NEAR(y[i * rows + r], sum, std::sqrt(norm_w * norm_x) * 1e-6);
    }
  }
}

// docs/numerics.md, "The order of sums", by the rule and not by the kernels' code.
float in_specified_order(std::span<const float> w, std::span<const float> x) {
  float y = 0;
  for (size_t begin = 0; begin < w.size(); begin += 256) {
    float even = 0, odd = 0;
    for (size_t k = begin; k < std::min(w.size(), begin + 256); ++k) {
      float& chain = k % 2 == 0 ? even : odd;
      chain = std::fma(w[k], x[k], chain);
    }
    y = y + (even + odd);
  }
  return y;
}
float in_specified_order(std::span<const BlockQ8> w, std::span<const float> x) {
  float y = 0;
  for (size_t begin = 0; begin < w.size(); begin += 8) {
    float chain = 0;
    for (size_t b = begin; b < std::min(w.size(), begin + 8); ++b) {
      float largest = 0;
      for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[32 * b + i]));
      int dot = 0;
      for (size_t i = 0; i < 32; ++i) {
        dot += w[b].q[i] * static_cast<int>(std::nearbyint(x[32 * b + i] * (127.0F / largest)));
      }
      chain = std::fma(static_cast<float>(dot), ggml_fp16_to_fp32(w[b].d) * (largest / 127.0F), chain);
    }
    y = y + chain;
  }
  return y;
}

TEST(MatmulOrderTest, IsTheSpecifiedOne) {
  for (const size_t cols : {32, 256, 288, 608, 1536}) {  // a last segment of one half block among them
    const std::vector<float> values = random_floats(3 * cols, 12), x = random_floats(cols, 13, 100.0F);
    const Weights f32 = quantized(GGML_TYPE_F32, 3, cols, values), q8 = quantized(GGML_TYPE_Q8_0, 3, cols, values);
    std::vector<BlockQ8> blocks(3 * cols / 32);
    ASSERT_EQ(blocks.size() * sizeof blocks[0], q8.bytes.size());
    std::memcpy(blocks.data(), q8.bytes.data(), q8.bytes.size());
    for (const Kernels* k : sets_for_tests()) {
      const std::vector<float> y32 = multiply(*k, pack(f32), x, 1, 1), y8 = multiply(*k, pack(q8), x, 1, 1);
      for (size_t r = 0; r < 3; ++r) {
        EXPECT_EQ(y32[r], in_specified_order(std::span(values).subspan(r * cols, cols), x)) << k->name << ' ' << cols;
        EXPECT_EQ(y8[r], in_specified_order(std::span(blocks).subspan(r * cols / 32, cols / 32), x))
            << k->name << ' ' << cols;
      }
    }
  }
}

TEST_P(MatmulTest, EveryInstructionSetGivesTheSameBits) {
  const size_t cols = cols_for(GetParam()), rows = 37, n = 11;
  std::vector<float> x = random_floats(n * cols, 6, 1000.0F);
  std::fill(x.begin() + static_cast<long>(cols), x.begin() + static_cast<long>(2 * cols), 0.0F);  // an all-zero row
  std::vector<Weights> cases;
  cases.push_back(quantized(GetParam(), rows, cols, random_floats(rows * cols, 8)));
  if (!is_float(GetParam())) cases.push_back(extreme(GetParam(), rows, cols));
  for (const Weights& w : cases) {
    const PackedMatrix packed = pack(w);
    const std::vector<float> expected = multiply(kPortableKernels, packed, x, n, 1);
    for (const Kernels* k : sets_for_tests()) {
      for (int tile = 1; tile <= k->tile; ++tile) {
        const std::vector<float> y = multiply(*k, packed, x, n, tile);
        EXPECT_EQ(0, std::memcmp(y.data(), expected.data(), y.size() * sizeof(float))) << k->name << " tile " << tile;
      }
    }
  }
}

TEST_P(MatmulTest, RowsDoNotDependOnTheirNumber) {
  const size_t cols = cols_for(GetParam()), rows = 32;
  const PackedMatrix packed = pack(quantized(GetParam(), rows, cols, random_floats(rows * cols, 9)));
  const std::vector<float> x = random_floats(64 * cols, 10, 5.0F);
  for (const Kernels* k : sets_for_tests()) {
    if (k->name != available_kernels().back()->name && k->isa != Isa::kAvx512)
      continue;  // the slow ones are covered above
    std::vector<float> one;
    for (size_t i = 0; i < 64; ++i) {
      const std::vector<float> row(x.begin() + static_cast<long>(i * cols),
                                   x.begin() + static_cast<long>((i + 1) * cols));
      const std::vector<float> y = multiply(*k, packed, row, 1, k->tile);
      one.insert(one.end(), y.begin(), y.end());
    }
    for (size_t n = 1; n <= 64; ++n) {
      const std::vector<float> y = multiply(*k, packed, x, n, k->tile);
      ASSERT_EQ(0, std::memcmp(y.data(), one.data(), y.size() * sizeof(float))) << k->name << " n " << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatmulTest, testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

TEST(PackedMatrixTest, RefusesWhatItCannotRun) {
  const std::vector<float> x(256);
  EXPECT_NE(std::string::npos,
            PackedMatrix::pack(GGML_TYPE_IQ4_NL, x.data(), 1, 32, nullptr).error().message.find("not supported"));
  EXPECT_NE(std::string::npos,
            PackedMatrix::pack(GGML_TYPE_Q4_K, x.data(), 1, 64, nullptr).error().message.find("multiple of 256"));
}

TEST(PackedMatrixTest, PackingIsTheSameOnAnyNumberOfThreads) {
  const Weights w = quantized(GGML_TYPE_Q4_K, 100, 256, random_floats(100 * 256, 11));
  ThreadPool pool(3);
  const PackedMatrix one = pack(w);
  const auto many = PackedMatrix::pack(w.type, w.bytes.data(), w.rows, w.cols, &pool);
  ASSERT_TRUE(many.ok());
  EXPECT_EQ(0, std::memcmp(one.unit(0), many->unit(0), one.bytes()));
}

}  // namespace
}  // namespace s3d
