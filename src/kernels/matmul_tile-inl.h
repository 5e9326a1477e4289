// Where the activations of one block of weights lie (included by isa_*.cc before the matmul of the instruction set).

namespace s3d::S3D_ISA_NS {

// From a row of a tile to the next one, in bytes.
inline constexpr size_t kRowStep = sizeof(ActLine);

// kQ8_32: 64 columns of the tile's rows; `part` is the number of the first 32 in their segment.
struct Block32 {
  const int8_t* q;            // [w][64]
  const ActScales32* scales;  // [w]
  size_t part;
};

// kQ8_256: 256 columns of the tile's rows.
struct Block256 {
  const int8_t* q;             // [4][w][64]
  const ActScales256* scales;  // [w]
};

}  // namespace s3d::S3D_ISA_NS
