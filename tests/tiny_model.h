// Tiny random models of every family and weight type, written as GGUF files: for tests that need no real weights.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace s3d {

// Sizes are multiples of 256 where K-quants need it: d_model 256, d_ff 512 (gemmas: 256), 4 heads of 64 (2 of them
// key-value heads), 300 tokens, 2 layers (gemma3: 7, so that local and global layers occur; windows of 8 positions).
struct TinyModelOptions {
  std::string_view family;         // one of known_families()
  ggml_type type = GGML_TYPE_F32;  // of all matrices; vectors are F32
  uint64_t seed = 1;
  int context = 512;
  int layers = 0;  // 0: the number above
};

// The bytes of the file; the same for the same options on every machine (but for rounding in the quantizers). It has no
// tokenizer. A matrix [out, in] has normally distributed values of 1.3 / sqrt(in).
std::string tiny_model_image(const TinyModelOptions& options);

// Writes that file to the test's temporary folder and returns its path.
std::string write_tiny_model(const TinyModelOptions& options);

}  // namespace s3d
