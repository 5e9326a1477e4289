// Where a tile's activations lie, block by block (included by isa_*.cc before the matmul of the instruction set).

namespace s3d::S3D_ISA_NS {

// Activations of one tile from one block of the weights on.
struct TileBlock {
  const int8_t* q;
  const float* scale;
  const int32_t* sum32;
  const float* dsum;
  const int16_t* pairs16;
  const int16_t* pairs32;
};

S3D_INLINED inline TileBlock first_block(const Activations& x, size_t t) {
  return {x.q(t), x.scale(t), x.sum32(t), x.dsum(t), x.pairs16(t), x.pairs32(t)};
}

// To the next block, in a tile of kW rows.
template <ggml_type kType, int kW>
S3D_INLINED inline void advance(TileBlock& at) {
  constexpr size_t kK = r16::layout(kType).k;
  constexpr size_t kScaleStep = kK == 256 ? kW : kK / 32 * kW;
  at.q += kK * kW;
  at.scale += kScaleStep;
  at.sum32 += kScaleStep;
  at.dsum += kScaleStep;
  at.pairs16 += kK / 16 * kW;
  at.pairs32 += kK / 32 * kW;
}

}  // namespace s3d::S3D_ISA_NS
