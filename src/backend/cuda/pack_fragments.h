// From r16 (quant/r16.h) to the order of fragment_layout.h.
#pragma once

#include <cstddef>

#include "kernels/packed_matrix.h"

namespace s3d::cuda {

// Bytes of the whole matrix on a device.
size_t fragment_bytes(const PackedMatrix& matrix);

// Units [begin, end) of the matrix; `out`: (end - begin) * fragment_unit_bytes.
void pack_fragments(const PackedMatrix& matrix, size_t begin, size_t end, std::byte* out);

}  // namespace s3d::cuda
