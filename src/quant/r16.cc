#include "quant/r16.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace s3d::r16 {
namespace {

// One ggml block of any integer type, taken apart: values, scales and minima as stored, not yet multiplied.
struct Parts {
  ggml_fp16_t d = 0;
  ggml_fp16_t m = 0;             // minimum (Q4_1, Q5_1) or dmin (Q4_K, Q5_K)
  std::array<uint8_t, 256> q{};  // Q8: two's complement
  std::array<uint8_t, 16> sc{};  // Q4_K, Q5_K: 8 used; Q6_K: 16 signed bytes
  std::array<uint8_t, 8> mn{};
};

ggml_fp16_t read_half(const uint8_t* p) {
  ggml_fp16_t h;
  std::memcpy(&h, p, sizeof h);
  return h;
}

// Q4_0, Q4_1, Q5_0, Q5_1: value i is the low nibble of byte i, value i + 16 the high one; bit i of qh is the fifth.
void take_legacy(const uint8_t* src, bool has_min, bool has_fifth, Parts& p) {
  p.d = read_half(src);
  src += 2;
  if (has_min) {
    p.m = read_half(src);
    src += 2;
  }
  uint32_t high = 0;
  if (has_fifth) {
    std::memcpy(&high, src, 4);
    src += 4;
  }
  for (unsigned i = 0; i < 16; ++i) {
    p.q[i] = static_cast<uint8_t>((src[i] & 15U) | ((high >> i & 1U) << 4));
    p.q[i + 16] = static_cast<uint8_t>((src[i] >> 4) | ((high >> (i + 16) & 1U) << 4));
  }
}

void take_q8_0(const uint8_t* src, Parts& p) {
  p.d = read_half(src);
  std::memcpy(p.q.data(), src + 2, 32);
}

// Q4_K, Q5_K: eight 6-bit scales and minima in 12 bytes: the first four whole in the low six bits of bytes 0-3 and
// 4-7, the last four as low nibbles in bytes 8-11 with their upper two bits on top of bytes 0-7.
void take_k_scales(const uint8_t* s, Parts& p) {
  for (unsigned i = 0; i < 4; ++i) {
    p.sc[i] = s[i] & 63U;
    p.mn[i] = s[i + 4] & 63U;
    p.sc[i + 4] = static_cast<uint8_t>((s[i + 8] & 15U) | (s[i] >> 6) << 4);
    p.mn[i + 4] = static_cast<uint8_t>((s[i + 8] >> 4) | (s[i + 4] >> 6) << 4);
  }
}

// Values come in groups of 64: low nibbles of 32 bytes, then their high nibbles; Q5_K's fifth bits are bit planes,
// bit j of qh[i] belonging to value 32 j + i.
void take_q45_k(const uint8_t* src, bool has_fifth, Parts& p) {
  p.d = read_half(src);
  p.m = read_half(src + 2);
  take_k_scales(src + 4, p);
  const uint8_t* qh = src + 16;
  const uint8_t* qs = has_fifth ? qh + 32 : qh;
  for (unsigned run = 0; run < 8; ++run) {  // of 32 values
    for (unsigned i = 0; i < 32; ++i) {
      const unsigned byte = qs[run / 2 * 32 + i];
      const unsigned nibble = run % 2 == 0 ? byte & 15U : byte >> 4;
      const unsigned fifth = has_fifth ? (qh[i] >> run & 1U) : 0U;
      p.q[run * 32 + i] = static_cast<uint8_t>(nibble | fifth << 4);
    }
  }
}

// Q6_K: halves of 128 values; in each, 64 bytes of nibbles and 32 bytes of upper bits serve four runs of 32 values.
void take_q6_k(const uint8_t* src, Parts& p) {
  const uint8_t* ql = src;
  const uint8_t* qh = src + 128;
  std::memcpy(p.sc.data(), src + 192, 16);
  p.d = read_half(src + 208);
  for (unsigned run = 0; run < 8; ++run) {  // of 32 values, four in each half
    const unsigned half = run / 4, in_half = run % 4;
    for (unsigned i = 0; i < 32; ++i) {
      const unsigned byte = ql[half * 64 + in_half % 2 * 32 + i];
      const unsigned low = in_half < 2 ? byte & 15U : byte >> 4;
      const unsigned high = qh[half * 32 + i] >> (2 * in_half) & 3U;
      p.q[run * 32 + i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void take(ggml_type type, const uint8_t* src, Parts& p) {
  switch (type) {
    case GGML_TYPE_Q4_0:
      return take_legacy(src, false, false, p);
    case GGML_TYPE_Q4_1:
      return take_legacy(src, true, false, p);
    case GGML_TYPE_Q5_0:
      return take_legacy(src, false, true, p);
    case GGML_TYPE_Q5_1:
      return take_legacy(src, true, true, p);
    case GGML_TYPE_Q8_0:
      return take_q8_0(src, p);
    case GGML_TYPE_Q4_K:
      return take_q45_k(src, false, p);
    case GGML_TYPE_Q5_K:
      return take_q45_k(src, true, p);
    case GGML_TYPE_Q6_K:
      return take_q6_k(src, p);
    default:
      S3D_CHECK(false, "no integer weight type");
  }
}

// Bits a value has below (in nibble lines) and above.
int low_bits(ggml_type type) {
  return type == GGML_TYPE_Q8_0 ? 8 : 4;
}
int high_bits(ggml_type type) {
  if (type == GGML_TYPE_Q6_K) return 2;
  return type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1 || type == GGML_TYPE_Q5_K ? 1 : 0;
}

// Where the low nibble or byte, and the high bits, of value (row, k) of a block lie.
struct Place {
  size_t byte;
  unsigned shift;
};
Place low_place(ggml_type type, size_t row, size_t k) {
  const size_t group = k / 4 % run_groups(type);  // in its run
  const size_t in_line = k / 4 / run_groups(type) * layout(type).run + 4 * row + k % 4;
  if (low_bits(type) == 8) return {group * kLine + in_line, 0};
  return {group / 2 * kLine + in_line, group % 2 == 0 ? 0U : 4U};
}
Place high_place(ggml_type type, size_t row, size_t k) {
  const size_t group = k / 4 % run_groups(type);
  const size_t in_line = k / 4 / run_groups(type) * layout(type).run + 4 * row + k % 4;
  return {in_line, static_cast<unsigned>(group) * static_cast<unsigned>(high_bits(type))};
}

// Four values of one k-group at a time: they are neighbours in a line.
void put_values(ggml_type type, const Parts& p, size_t row, size_t k0, size_t count, uint8_t* block) {
  const Layout lay = layout(type);
  const uint32_t low_mask = low_bits(type) == 8 ? 0xffffffffU : 0x0f0f0f0fU;
  const auto put = [](uint8_t* at, uint32_t bits) {
    uint32_t old;
    std::memcpy(&old, at, sizeof old);
    old |= bits;
    std::memcpy(at, &old, sizeof old);
  };
  for (size_t i = 0; i < count; i += 4) {
    uint32_t four;
    std::memcpy(&four, &p.q[i], sizeof four);
    const Place low = low_place(type, row, k0 + i);
    put(block + lay.q + low.byte, (four & low_mask) << low.shift);
    if (high_bits(type) != 0) {
      const Place up = high_place(type, row, k0 + i);
      put(block + lay.qh + up.byte, (four >> 4 & 0x0f0f0f0fU) << up.shift);
    }
  }
}

void put_half(uint8_t* at, ggml_fp16_t h) {
  std::memcpy(at, &h, sizeof h);
}

void put_scales(ggml_type type, const Parts& p, size_t row, size_t k0, uint8_t* block) {
  const Layout lay = layout(type);
  if (lay.k == 64) {
    const size_t at = (k0 / 32 * kRows + row) * 2;
    put_half(block + lay.d + at, p.d);
    if (lay.m != 0) put_half(block + lay.m + at, p.m);
    return;
  }
  put_half(block + lay.d + row * 2, p.d);
  if (type == GGML_TYPE_Q6_K) {
    for (size_t s = 0; s < 16; ++s) block[lay.sc + (s / 2 * kRows + row) * 2 + s % 2] = p.sc[s];
    return;
  }
  put_half(block + lay.m + row * 2, p.m);
  for (size_t s = 0; s < 8; ++s) {
    block[lay.sc + s * kRows + row] = p.sc[s];
    block[lay.mn + (s / 2 * kRows + row) * 2 + s % 2] = p.mn[s];
  }
}

void pack_float_row(size_t value_bytes, const uint8_t* src, size_t row, size_t cols, uint8_t* out) {
  for (size_t k = 0; k < cols; ++k) {
    std::memcpy(out + (k * kRows + row) * value_bytes, src + k * value_bytes, value_bytes);
  }
}

// The value of (row, k) as ggml computes it: the same operations in the same order.
float value_at(ggml_type type, const uint8_t* block, size_t row, size_t k) {
  const Layout lay = layout(type);
  const Place low = low_place(type, row, k);
  int q = block[lay.q + low.byte] >> low.shift & (low_bits(type) == 8 ? 255 : 15);
  if (high_bits(type) != 0) {
    const Place up = high_place(type, row, k);
    q |= (block[lay.qh + up.byte] >> up.shift & (high_bits(type) == 1 ? 1 : 3)) << 4;
  }
  const size_t scale_at = lay.k == 64 ? (k / 32 * kRows + row) * 2 : row * 2;
  const float d = ggml_fp16_to_fp32(read_half(block + lay.d + scale_at));
  const float m = lay.m == 0 ? 0.0F : ggml_fp16_to_fp32(read_half(block + lay.m + scale_at));
  switch (type) {
    case GGML_TYPE_Q4_0:
      return static_cast<float>(q - 8) * d;
    case GGML_TYPE_Q5_0:
      return static_cast<float>(q - 16) * d;
    case GGML_TYPE_Q8_0:
      return static_cast<float>(static_cast<int8_t>(q)) * d;
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_1:
      return static_cast<float>(q) * d + m;
    case GGML_TYPE_Q6_K: {
      const auto sc = static_cast<int8_t>(block[lay.sc + (k / 32 * kRows + row) * 2 + k / 16 % 2]);
      return d * static_cast<float>(sc) * static_cast<float>(q - 32);
    }
    default: {
      const float scale = d * static_cast<float>(block[lay.sc + k / 32 * kRows + row]);
      const float low_end = m * static_cast<float>(block[lay.mn + (k / 64 * kRows + row) * 2 + k / 32 % 2]);
      return scale * static_cast<float>(q) - low_end;
    }
  }
}

float float_at(ggml_type type, const uint8_t* unit, size_t row, size_t k) {
  const size_t at = k * kRows + row;
  if (type == GGML_TYPE_F16) return ggml_fp16_to_fp32(read_half(unit + at * 2));
  uint32_t bits = 0;
  if (type == GGML_TYPE_BF16) {
    bits = static_cast<uint32_t>(read_half(unit + at * 2)) << 16;
  } else {
    std::memcpy(&bits, unit + at * 4, 4);
  }
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace

void pack_unit(ggml_type type, const void* src, size_t row_bytes, size_t n_rows, size_t cols, std::byte* out) {
  const Layout lay = layout(type);
  auto* unit = reinterpret_cast<uint8_t*>(out);
  std::memset(unit, 0, unit_bytes(type, cols));
  for (size_t row = 0; row < n_rows; ++row) {
    const auto* from = static_cast<const uint8_t*>(src) + row * row_bytes;
    if (lay.k == 1) {
      pack_float_row(ggml_type_size(type), from, row, cols, unit);
      continue;
    }
    const auto per_block = static_cast<size_t>(ggml_blck_size(type));
    Parts parts;
    for (size_t k = 0; k < cols; k += per_block, from += ggml_type_size(type)) {
      take(type, from, parts);
      uint8_t* block = unit + k / lay.k * lay.bytes;
      put_scales(type, parts, row, k % lay.k, block);
      put_values(type, parts, row, k % lay.k, per_block, block);
    }
  }
}

void unpack_unit(ggml_type type, const std::byte* packed, size_t cols, float* out) {
  const Layout lay = layout(type);
  const auto* unit = reinterpret_cast<const uint8_t*>(packed);
  for (size_t row = 0; row < kRows; ++row) {
    for (size_t k = 0; k < cols; ++k) {
      out[row * cols + k] =
          lay.k == 1 ? float_at(type, unit, row, k) : value_at(type, unit + k / lay.k * lay.bytes, row, k % lay.k);
    }
  }
}

}  // namespace s3d::r16
