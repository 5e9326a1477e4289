// Loops that only read memory, for measuring how fast it can be read (included by isa_*.cc).

namespace s3d::S3D_ISA_NS {

// A cache line in as few registers as the instruction set allows.
using LineBits = uint64_t __attribute__((vector_size(64)));

// Reads `lines` cache lines as kStreams sequences side by side, asking for lines kAhead bytes ahead where that is not
// 0, and folds all bytes into one number, so that no reading can be left out.
template <size_t kStreams, size_t kAhead>
uint64_t read_lines(const std::byte* data, size_t lines) {
  constexpr size_t kLine = sizeof(LineBits);
  const size_t length = lines / kStreams;
  LineBits fold[kStreams] = {};
  const auto read = [&](size_t stream, size_t line) S3D_INLINED {
    LineBits bits;
    const std::byte* at = data + line * kLine;
    if constexpr (kAhead != 0)
      __builtin_prefetch(at + kAhead, 0, 2);  // the memory may end there: a prefetch cannot fail
    std::memcpy(&bits, at, kLine);
    fold[stream] ^= bits;
  };
  for (size_t i = 0; i < length; ++i) {
#pragma GCC unroll 4
    for (size_t s = 0; s < kStreams; ++s) read(s, s * length + i);
  }
  for (size_t i = length * kStreams; i < lines; ++i) read(0, i);
  uint64_t all = 0;
  for (const LineBits& bits : fold) {
    for (size_t i = 0; i < kLine / sizeof(uint64_t); ++i) all ^= bits[i];
  }
  return all;
}

inline constexpr ReadLoop kReadLoops[] = {&read_lines<1, 0>, &read_lines<2, 0>, &read_lines<4, 0>,
                                          &read_lines<1, 4096>};

}  // namespace s3d::S3D_ISA_NS
