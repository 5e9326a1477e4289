#include "backend/cuda/emulator/mma.h"

namespace s3d::emulator {
namespace {

struct Sizes {
  int m, k, a_registers, b_registers, c_registers;
};

Sizes sizes_of(MmaShape shape) {
  switch (shape) {
    case MmaShape::kM8N8K16:
      return {8, 16, 1, 1, 2};
    case MmaShape::kM16N8K16:
      return {16, 16, 2, 1, 4};
    default:
      return {16, 32, 4, 2, 4};
  }
}

int byte_of(uint32_t word, int i, bool is_signed) {
  const auto byte = static_cast<uint8_t>(word >> (8 * i));
  return is_signed ? static_cast<int8_t>(byte) : byte;
}

// The tables name a lane's groupID = lane / 4 and threadID_in_group = lane % 4. Register r of A: rows 8 (r % 2) +
// groupID, columns 16 (r / 2) + 4 threadID_in_group + 0 … 3. Of m8n8k16 and m16n8k16 the later registers do not exist.
void gather_a(const Sizes& s, bool signed_a, const std::array<MmaFragment, 32>& lanes, int (*a)[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < s.a_registers; ++r) {
      for (int i = 0; i < 4; ++i) {
        a[8 * (r % 2) + lane / 4][16 * (r / 2) + 4 * (lane % 4) + i] = byte_of(lanes[lane].a[r], i, signed_a);
      }
    }
  }
}

// Register r of B: rows 16 r + 4 threadID_in_group + 0 … 3 of column groupID.
void gather_b(const Sizes& s, const std::array<MmaFragment, 32>& lanes, int (*b)[32]) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < s.b_registers; ++r) {
      for (int i = 0; i < 4; ++i) b[lane / 4][16 * r + 4 * (lane % 4) + i] = byte_of(lanes[lane].b[r], i, true);
    }
  }
}

}  // namespace

void multiply_fragments(MmaShape shape, bool signed_a, std::array<MmaFragment, 32>& lanes) {
  const Sizes s = sizes_of(shape);
  int a[16][32] = {};  // [row][k]
  int b[8][32] = {};   // [column][k]
  gather_a(s, signed_a, lanes, a);
  gather_b(s, lanes, b);
  // Register i of C: row 8 (i / 2) + groupID, column 2 threadID_in_group + i % 2. A sum wraps as the hardware's does.
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < s.c_registers; ++i) {
      const int* row = a[8 * (i / 2) + lane / 4];
      const int* column = b[2 * (lane % 4) + i % 2];
      int dot = 0;  // at most 32 * 255 * 128
      for (int k = 0; k < s.k; ++k) dot += row[k] * column[k];
      lanes[lane].c[i] = static_cast<int32_t>(static_cast<uint32_t>(lanes[lane].c[i]) + static_cast<uint32_t>(dot));
    }
  }
}

}  // namespace s3d::emulator
