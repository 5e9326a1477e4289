// The matrix instructions of a warp, computed exactly, by the fragment maps of the PTX ISA ("Matrix Fragments for
// mma.m8n8k16, m16n8k16 and m16n8k32 with integer types", sections 9.7.15.5.5, .6 and .8 in version 9.0). Written from
// those tables alone: what the kernels assume about the maps is no part of it.
#pragma once

#include <array>
#include <cstdint>

namespace s3d::emulator {

enum class MmaShape : uint8_t { kM8N8K16, kM16N8K16, kM16N8K32 };

// What one lane brings: A row-major, B by columns, C; D is returned in `c`. Registers beyond a shape's are not read.
struct MmaFragment {
  std::array<uint32_t, 4> a{};
  std::array<uint32_t, 2> b{};
  std::array<int32_t, 4> c{};
};

// D = A B + C for the 32 lanes of a warp; A holds unsigned bytes or, with `signed_a`, signed ones; B signed ones.
void multiply_fragments(MmaShape shape, bool signed_a, std::array<MmaFragment, 32>& lanes);

}  // namespace s3d::emulator
