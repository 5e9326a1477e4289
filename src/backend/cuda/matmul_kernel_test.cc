// The matrix product of the emulated device against the portable kernels of the CPU, bit by bit.
#include <ggml.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "backend/cuda/buffer.h"
#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/input_buffers.h"
#include "backend/cuda/pack_fragments.h"
#include "backend/cuda/test_device.h"
#include "base/index.h"
#include "kernels/isa_sets.h"
#include "kernels/kernels.h"

static_assert(s3d::cuda::kSegmentColumns == s3d::kSumSegment, "the segments of docs/numerics.md");

namespace s3d::cuda {
namespace {

using Floats = std::vector<float>;

constexpr ggml_type kTypes[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                                GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                                GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

Floats random_floats(size_t n, uint32_t seed, float outlier = 1.0F) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Floats x(n);
  for (size_t i = 0; i < n; ++i) x[i] = normal(rng) * (i % 97 == 5 ? outlier : 1.0F);
  return x;
}

struct Weights {
  ggml_type type;
  size_t rows, cols;
  std::vector<std::byte> bytes;

  // Columns [begin, end) as a matrix of their own.
  PackedMatrix pack(size_t begin, size_t end) const {
    const size_t row = ggml_row_size(type, static_cast<int64_t>(cols));
    const size_t from = ggml_row_size(type, static_cast<int64_t>(begin));
    const size_t part = ggml_row_size(type, static_cast<int64_t>(end - begin));
    std::vector<std::byte> cut;
    for (size_t r = 0; r < rows; ++r) {
      const auto* at = &bytes[r * row + from];
      cut.insert(cut.end(), at, at + part);
    }
    return PackedMatrix::pack(type, cut.data(), rows, end - begin, nullptr).value();
  }
};

Weights quantized(ggml_type type, size_t rows, size_t cols, uint32_t seed) {
  const Floats from = random_floats(rows * cols, seed);
  Weights w{type, rows, cols, {}};
  w.bytes.resize(ggml_row_size(type, static_cast<int64_t>(cols)) * rows);
  ggml_quantize_chunk(type, from.data(), w.bytes.data(), 0, static_cast<int64_t>(rows), static_cast<int64_t>(cols),
                      nullptr);
  return w;
}

// Every bit of the values set or random, scales finite.
Weights extreme(ggml_type type, size_t rows, size_t cols) {
  Weights w = quantized(type, rows, cols, 7);
  std::mt19937 rng(3);
  const size_t size = ggml_type_size(type);
  const ggml_fp16_t scale = ggml_fp32_to_fp16(0.01F);
  const bool one_scale = type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q8_0;
  for (size_t at = 0; at < w.bytes.size(); at += size) {
    for (size_t i = 0; i < size; ++i) w.bytes[at + i] = static_cast<std::byte>(rng() % 2 == 0 ? 0xff : rng());
    if (type == GGML_TYPE_Q6_K) {
      std::memcpy(&w.bytes[at + size - 2], &scale, 2);
    } else {
      for (size_t h = 0; h < (one_scale ? 1U : 2U); ++h) std::memcpy(&w.bytes[at + 2 * h], &scale, 2);
    }
  }
  return w;
}

bool is_float(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

// What the specification says (docs/numerics.md, "The order of sums"): the products of the segments, each by the CPU's
// kernels alone, added in their order. [n][rows]
Floats expected(const Weights& w, const Floats& x, size_t n) {
  Floats y(n * w.rows);
  for (size_t begin = 0; begin < w.cols; begin += kSegmentColumns) {
    const size_t end = std::min(w.cols, begin + kSegmentColumns);
    const PackedMatrix part = w.pack(begin, end);
    Activations act;
    act.resize(act_format(w.type), n, end - begin, 1);
    for (size_t i = 0; i < n; ++i) kPortableKernels.store_activation(&x[i * w.cols + begin], act, i);
    Floats sums(n * w.rows);
    kPortableKernels.matmul(part, 0, part.units(), act, sums.data(), w.rows);
    for (size_t i = 0; i < y.size(); ++i) y[i] += sums[i];
  }
  return y;
}

// A matrix and rows on an emulated device.
class OnDevice {
 public:
  OnDevice(Device& device, const Weights& w, const Floats& x, size_t n) : device_(device) {
    const PackedMatrix packed = w.pack(0, w.cols);
    std::vector<std::byte> fragments(fragment_bytes(packed));
    pack_fragments(packed, 0, packed.units(), fragments.data());
    EXPECT_TRUE(weights_.assign(device, fragments) && x_.assign(device, x));
    const ActFormat format = act_format(w.type);
    const int rows = static_cast<int>(n), cols = static_cast<int>(w.cols);
    EXPECT_TRUE(input_.ensure(device, format, rows, cols));
    const StoredInput stored = input_.input(InputBuffers::bit(format));
    device.kernels().rows(device.stream(), {.x = x_.data(), .n = rows, .cols = cols, .stored = stored});
    task_ = {.n_products = 1, .type = w.type, .cols = cols, .n = rows, .x = stored};
    task_.products[0] = {.weights = weights_.data(), .rows = static_cast<int>(w.rows), .ld = static_cast<int>(w.rows)};
  }

  // The task with `y` filled with what no product gives.
  MatmulTask& task() { return task_; }
  Floats run(size_t size, float fill = std::numeric_limits<float>::quiet_NaN()) {
    EXPECT_TRUE(y_.assign(device_, Floats(size, fill)));
    for (MatrixProduct& product : task_.products) product.y = y_.data();
    device_.kernels().matmul(device_.stream(), task_);
    return y_.download(size);
  }

 private:
  Device& device_;
  Buffer<std::byte> weights_;
  Buffer<float> x_, y_;
  InputBuffers input_;
  MatmulTask task_;
};

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Three segments, of which the last is not full where the type allows it; of 32-column types half a pair.
size_t cols_for(ggml_type type) {
  return act_format(type) == ActFormat::kQ8_256 ? 768 : is_float(type) ? 589 : 608;
}

class MatmulKernelTest : public testing::TestWithParam<ggml_type> {};

TEST_P(MatmulKernelTest, EveryNumberOfRowsGivesTheBitsOfTheCpu) {
  const size_t cols = cols_for(GetParam()), rows = 37, most = 19;
  const Floats x = random_floats(most * cols, 6, 1000.0F);
  std::vector<Weights> cases;
  cases.push_back(quantized(GetParam(), rows, cols, 8));
  if (!is_float(GetParam())) cases.push_back(extreme(GetParam(), rows, cols));
  for (const Weights& w : cases) {
    const Floats all = expected(w, x, most);
    for (size_t n = 1; n <= most; n += n < 16 ? 1 : 3) {
      const auto device = make_test_device(n, /*turing=*/n % 4 == 2);
      OnDevice on_device(*device, w, {x.begin(), x.begin() + static_cast<long>(n * cols)}, n);
      ASSERT_TRUE(same_bits(on_device.run(n * rows), {all.begin(), all.begin() + static_cast<long>(n * rows)}))
          << "n " << n;
    }
  }
}

// The tiles of long prompts, full ones and ones that are not.
TEST_P(MatmulKernelTest, ManyRowsGiveTheBitsOfTheCpu) {
  const size_t cols = cols_for(GetParam()), rows = 21, most = 70;
  const Weights w = quantized(GetParam(), rows, cols, 19);
  const Floats x = random_floats(most * cols, 20, 1000.0F), all = expected(w, x, most);
  for (const size_t n : {size_t{27}, size_t{32}, size_t{33}, most}) {
    const auto device = make_test_device(n, /*turing=*/n == 33);
    OnDevice on_device(*device, w, {x.begin(), x.begin() + static_cast<long>(n * cols)}, n);
    ASSERT_TRUE(same_bits(on_device.run(n * rows), {all.begin(), all.begin() + static_cast<long>(n * rows)})) << n;
  }
}

TEST_P(MatmulKernelTest, TheOrderOfThreadsDoesNotMatter) {
  const size_t cols = cols_for(GetParam()), rows = 21, n = 3;
  const Weights w = quantized(GetParam(), rows, cols, 9);
  const Floats x = random_floats(n * cols, 10), all = expected(w, x, n);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto device = make_test_device(seed);
    ASSERT_TRUE(same_bits(OnDevice(*device, w, x, n).run(n * rows), all)) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MatmulKernelTest, testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

// More segments than a block takes at once, and a row of one segment, of which a block takes several units.
TEST(MatmulKernel, LongAndShortRows) {
  for (const size_t cols : {size_t{32}, size_t{256}, size_t{8960}}) {
    const Weights w = quantized(GGML_TYPE_Q4_0, 70, cols, 11);
    const Floats x = random_floats(40 * cols, 12);
    for (const size_t n : {size_t{1}, size_t{9}, size_t{40}}) {
      const auto device = make_test_device(cols + n);
      const Floats part(x.begin(), x.begin() + static_cast<long>(n * cols));
      EXPECT_TRUE(same_bits(OnDevice(*device, w, part, n).run(n * 70), expected(w, part, n))) << cols << ' ' << n;
    }
  }
}

// What is added to a product, and where it goes.
TEST(MatmulKernel, AddendBiasPlacesAndSum) {
  const size_t rows = 40, cols = 64, n = 2;
  const Weights w = quantized(GGML_TYPE_Q8_0, rows, cols, 13);
  const Floats x = random_floats(n * cols, 14), product = expected(w, x, n);
  const Floats addend = random_floats(n * rows, 15), bias = random_floats(rows, 16);
  std::vector<int32_t> places(rows);
  for (size_t r = 0; r < rows; ++r) places[r] = static_cast<int32_t>(rows - 1 - r);
  const auto device = make_test_device();
  Buffer<float> device_addend, device_bias;
  Buffer<int32_t> device_places;
  ASSERT_TRUE(device_addend.assign(*device, addend) && device_bias.assign(*device, bias) &&
              device_places.assign(*device, places));
  OnDevice on_device(*device, w, x, n);
  MatrixProduct& p = on_device.task().products[0];
  p.addend = device_addend.data();
  p.bias = device_bias.data();
  p.places = device_places.data();
  p.accumulate = true;
  Floats sum(n * rows);
  for (size_t i = 0; i < n; ++i) {
    for (size_t r = 0; r < rows; ++r) {
      sum[i * rows + rows - 1 - r] = 0.5F + ((product[i * rows + r] + addend[i * rows + r]) + bias[r]);
    }
  }
  EXPECT_TRUE(same_bits(on_device.run(n * rows, 0.5F), sum));

  p = {.weights = p.weights, .rows = p.rows, .ld = p.ld, .softcap = 3.0F};
  Floats capped = product;
  for (size_t i = 0; i < n; ++i) kPortableKernels.floats->softcap(3.0F, rows, &capped[i * rows]);
  EXPECT_TRUE(same_bits(on_device.run(n * rows), capped));
}

// Several matrices that read one input share a launch.
TEST(MatmulKernel, ThreeMatrices) {
  const size_t rows = 33, cols = 512, n = 5;
  const Weights w = quantized(GGML_TYPE_Q4_K, rows, cols, 17);
  const Floats x = random_floats(n * cols, 18), all = expected(w, x, n);
  const auto device = make_test_device(5);
  OnDevice on_device(*device, w, x, n);
  MatmulTask& task = on_device.task();
  task.n_products = 3;
  // The same weights: whole, the first 16 outputs, the last two units. Columns of one y, side by side.
  const size_t unit = fragment_unit_bytes(GGML_TYPE_Q4_K, cols);
  const int ld = 3 * static_cast<int>(rows);
  Buffer<float> y;
  ASSERT_TRUE(y.assign(*device, Floats(n * usize(ld))));
  task.products[0].ld = ld;
  task.products[1] = {.weights = task.products[0].weights, .rows = 16, .ld = ld};
  task.products[2] = {.weights = task.products[0].weights + unit, .rows = 17, .ld = ld};
  for (int p = 0; p < 3; ++p) task.products[p].y = y.data() + p * static_cast<int>(rows);
  device->kernels().matmul(device->stream(), task);
  const Floats out = y.download(n * usize(ld));
  for (size_t i = 0; i < n; ++i) {
    for (size_t r = 0; r < rows; ++r) {
      ASSERT_EQ(out[i * usize(ld) + r], all[i * rows + r]);
      ASSERT_EQ(out[i * usize(ld) + rows + r], r < 16 ? all[i * rows + r] : 0.0F);
      ASSERT_EQ(out[i * usize(ld) + 2 * rows + r], r < 17 ? all[i * rows + 16 + r] : 0.0F);
    }
  }
}

}  // namespace
}  // namespace s3d::cuda
