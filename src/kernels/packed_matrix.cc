#include "kernels/packed_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "quant/r16.h"

namespace s3d {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kBlockBytes = size_t{64} << 20;  // of WeightMemory, where no matrix is larger

// Zeroed memory that begins at a large page; pages that nothing is written to take no memory. Null: out of memory.
std::shared_ptr<std::byte> map_block(size_t bytes) {
  const size_t mapped = bytes + kLargePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(memory) % kLargePage;
  std::byte* begin = static_cast<std::byte*>(memory) + before;
  madvise(begin, bytes, MADV_HUGEPAGE);  // a wish
  return {begin, [memory, mapped](std::byte*) { munmap(memory, mapped); }};
}

// Units of 16 rows whose reading makes about 16 MiB of a mapped file resident. A row that is read out of order brings
// 64 KiB: the kernel maps the pages around a fault.
size_t units_of_slice(size_t row_bytes, bool scattered) {
  constexpr size_t kSliceBytes = size_t{16} << 20, kFaultBytes = size_t{64} << 10;
  return std::max<size_t>(1, kSliceBytes / (r16::kRows * (scattered ? row_bytes + kFaultBytes : row_bytes)));
}

}  // namespace

bool is_supported_weight(ggml_type type) {
  switch (type) {
    case GGML_TYPE_F32:
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q6_K:
      return true;
    default:
      return false;
  }
}

ActFormat act_format(ggml_type type) {
  switch (r16::layout(type).k) {
    case 64:
      return ActFormat::kQ8_32;
    case 256:
      return ActFormat::kQ8_256;
    default:
      return ActFormat::kF32;
  }
}

std::shared_ptr<std::byte> WeightMemory::take(size_t bytes) {
  constexpr size_t kAlign = 64;
  const size_t rounded = (bytes + kAlign - 1) / kAlign * kAlign;
  if (size_ - used_ < rounded) {
    const size_t size = std::max(kBlockBytes, (rounded + kLargePage - 1) / kLargePage * kLargePage);
    block_ = map_block(size);
    used_ = 0;
    size_ = block_ == nullptr ? 0 : size;
    if (block_ == nullptr) return nullptr;
  }
  std::shared_ptr<std::byte> part{block_, block_.get() + used_};
  used_ += rounded;
  return part;
}

Result<PackedMatrix> PackedMatrix::pack(ggml_type type, const void* src, size_t rows, size_t cols, ThreadPool* pool,
                                        std::span<const int32_t> order, const std::function<void()>& after_slice,
                                        WeightMemory* memory) {
  S3D_CHECK(order.empty() || order.size() == rows);
  if (!is_supported_weight(type)) {
    return Error{
        std::string("weight type ") + ggml_type_name(type) +
        " is not supported (supported: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K); convert the model "
        "to one of these"};
  }
  const auto block = static_cast<size_t>(ggml_blck_size(type));
  if (rows == 0 || cols == 0 || cols % block != 0) {
    return Error{"a " + std::to_string(rows) + " x " + std::to_string(cols) + " matrix cannot be " +
                 ggml_type_name(type) + ": rows of a multiple of " + std::to_string(block) + " values were expected"};
  }
  PackedMatrix m;
  m.type_ = type;
  m.rows_ = rows;
  m.cols_ = cols;
  m.unit_bytes_ = r16::unit_bytes(type, cols);
  m.data_ = memory != nullptr ? memory->take(m.bytes()) : map_block(m.bytes());
  if (m.data_ == nullptr) {
    return Error{"out of memory: " + std::to_string(m.bytes()) + " bytes were asked for to pack a weight matrix"};
  }

  const auto* from = static_cast<const std::byte*>(src);
  const auto pack_range = [&](size_t begin, size_t end) { m.pack_units(from, order, begin, end); };
  const size_t slice =
      after_slice ? units_of_slice(ggml_row_size(type, static_cast<int64_t>(cols)), !order.empty()) : m.units();
  for (size_t first = 0; first < m.units(); first += slice) {
    const size_t count = std::min(slice, m.units() - first);
    if (pool == nullptr) {
      pack_range(first, first + count);
    } else {
      pool->run([&](int, Team& team) {
        team.for_chunks(count, 4, [&](size_t begin, size_t end) { pack_range(first + begin, first + end); });
      });
    }
    if (after_slice) after_slice();
  }
  return m;
}

// Packs units [begin, end).
void PackedMatrix::pack_units(const std::byte* src, std::span<const int32_t> order, size_t begin, size_t end) {
  const size_t row_bytes = ggml_row_size(type_, static_cast<int64_t>(cols_));
  std::vector<std::byte> gathered(order.empty() ? 0 : r16::kRows * row_bytes);
  for (size_t u = begin; u < end; ++u) {
    const size_t row = u * r16::kRows;
    const size_t n = std::min(rows_ - row, r16::kRows);
    const std::byte* from = src + row * row_bytes;
    if (!order.empty()) {
      for (size_t i = 0; i < n; ++i) {
        std::memcpy(&gathered[i * row_bytes], src + static_cast<size_t>(order[row + i]) * row_bytes, row_bytes);
      }
      from = gathered.data();
    }
    r16::pack_unit(type_, from, row_bytes, n, cols_, data_.get() + u * unit_bytes_);
  }
}

}  // namespace s3d
