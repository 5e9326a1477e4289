// Names for the bytes of a model: a checksum for each tensor, and one number that tells base models apart.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "file/gguf.h"

namespace s3d {

// XXH3-64 over all bytes of a tensor, as 16 hexadecimal digits. Reads the whole tensor and gives its pages back.
std::string tensor_checksum(const GgufFile& file, const Tensor& tensor);

// A 64-bit number by which an adapter recognises its base model. XXH3-64 over, in this order: general.architecture;
// every metadata key of the architecture ("llama.…") with its value, sorted by key; every tensor, sorted by name,
// with name, type, shape and three samples of at most 4,096 bytes (from its start, its middle, its end). Equal for a
// split and an unsplit copy of one model; not influenced by names, licences, tokenizer or chat template. Takes
// milliseconds: about 12 KB are read from each tensor. Not a defence against a person who forges a match.
uint64_t base_fingerprint(const GgufFile& file);

// As `s3d inspect` and messages show it: 16 hexadecimal digits.
std::string fingerprint_text(uint64_t fingerprint);

}  // namespace s3d
