// A model with the shapes of a real one and random weights: for measuring speed, and bits, where no model can be
// fetched.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <string>
#include <vector>

namespace s3d {

// Of the family llama.
struct RandomShape {
  std::string name;
  int layers, d_model, d_ff, heads, kv_heads, head_dim, vocab;
  ggml_type type;       // of all matrices but …
  ggml_type head_type;  // … the embedding, which is the LM head too
};

RandomShape shape_1_5b();   // Qwen2.5-1.5B with the types of a Q4_K_M file's majority: 1.0 GB
RandomShape shape_7b();     // Qwen2.5-7B likewise: 4.6 GB
RandomShape shape_small();  // for trying the program: 1 MB

// Fills `bytes`, blocks of `type`, with random bits and scales that keep sums finite.
void fill_random_blocks(ggml_type type, std::vector<std::byte>& bytes, uint64_t seed);

// The bytes of a GGUF file without a tokenizer; llama.cpp reads it too.
std::vector<std::byte> random_model_image(const RandomShape& shape);

}  // namespace s3d
