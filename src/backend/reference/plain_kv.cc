#include "backend/reference/plain_kv.h"

#include <ggml.h>

#include <cstdint>
#include <cstring>

#include "backend/reference/reference_rounding.h"

namespace s3d {
namespace {

constexpr size_t kBlock = KvLayout::kScaleDims;

template <typename T>
void put(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <typename T>
T get(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

PlainKv PlainKv::key(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot) {
  const auto group = static_cast<size_t>(slot / KvLayout::kGroup), lane = static_cast<size_t>(slot % KvLayout::kGroup);
  std::byte* base = page + layout.key_head_offset(layer, kv_head) + group * layout.key_group_bytes();
  PlainKv out;
  out.type_ = layout.type;
  out.head_dim_ = static_cast<size_t>(layout.head_dim);
  out.numbers_ = base + lane * layout.element_bytes();
  out.step_ = KvLayout::kGroup * layout.element_bytes();
  out.scales_ = base + layout.key_scales_offset() + lane * sizeof(ggml_fp16_t);
  out.scale_step_ = KvLayout::kGroup * sizeof(ggml_fp16_t);
  return out;
}

PlainKv PlainKv::value(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot) {
  const auto row = static_cast<size_t>(slot);
  std::byte* base = page + layout.value_head_offset(layer, kv_head);
  PlainKv out;
  out.type_ = layout.type;
  out.head_dim_ = static_cast<size_t>(layout.head_dim);
  out.numbers_ = base + row * layout.value_row_bytes();
  out.step_ = layout.element_bytes();
  out.scales_ = base + layout.value_scales_offset() + row * layout.value_scale_row_bytes();
  out.scale_step_ = sizeof(ggml_fp16_t);
  return out;
}

void PlainKv::write(const double* from) const {
  if (type_ == KvType::kQ8_0) return write_q8_0(from);
  for (size_t d = 0; d < head_dim_; ++d) {
    const auto x = static_cast<float>(from[d]);
    type_ == KvType::kF32 ? put(numbers_ + d * step_, x) : put(numbers_ + d * step_, ggml_fp32_to_fp16(x));
  }
}

void PlainKv::write_q8_0(const double* from) const {
  for (size_t begin = 0; begin < head_dim_; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, head_dim_);
    const Int8Rounding rounding = int8_rounding(from + begin, end - begin, /*half_scale=*/true);
    put(scales_ + begin / kBlock * scale_step_, ggml_fp32_to_fp16(rounding.scale));
    for (size_t d = begin; d < end; ++d) put(numbers_ + d * step_, static_cast<int8_t>(rounding.quant(from[d])));
  }
}

void PlainKv::read(double* to) const {
  for (size_t d = 0; d < head_dim_; ++d) {
    const std::byte* at = numbers_ + d * step_;
    if (type_ == KvType::kF32) to[d] = get<float>(at);
    if (type_ == KvType::kF16) to[d] = ggml_fp16_to_fp32(get<ggml_fp16_t>(at));
    if (type_ == KvType::kQ8_0) {
      to[d] = get<int8_t>(at) * double{ggml_fp16_to_fp32(get<ggml_fp16_t>(scales_ + d / kBlock * scale_step_))};
    }
  }
}

}  // namespace s3d
