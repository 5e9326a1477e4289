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

PlainKv::PlainKv(const KvLayout& layout, std::byte* page, const KvLayout::Place& place)
    : type_(layout.type),
      head_dim_(static_cast<size_t>(layout.head_dim)),
      numbers_(page + place.numbers),
      step_(place.step),
      scales_(page + place.scales),
      scale_step_(place.scale_step) {}

PlainKv PlainKv::key(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot) {
  return {layout, page, layout.key(layer, kv_head, slot)};
}

PlainKv PlainKv::value(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot) {
  return {layout, page, layout.value(layer, kv_head, slot)};
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
