// What a model's file says about the model, for lists and for answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "file/gguf.h"
#include "serve/model_service.h"

namespace s3d::serve {

// What whoever started the server says of answers. It goes before the model file's own settings, and a request before
// both.
struct AnswerDefaults {
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, penalty_last_n;
  std::optional<uint64_t> seed;
  int max_tokens = -1;

  SamplerOptions over(SamplerOptions sampler) const;  // `sampler`, but for what is said here
};

// Reads the metadata of a file, no weights. Errors: those of GgufFile::open() and read_model_config().
Result<ModelCard> read_model_card(const std::string& path, const std::string& id, const AnswerDefaults& defaults);
Result<ModelCard> make_model_card(const GgufFile& file, const std::string& id, const AnswerDefaults& defaults);

// What the file's own keys say ("general.sampling.temp" and its kin, as llama.cpp writes them). Values out of their
// ranges are left out.
SamplerOptions file_sampler(const GgufFile& file);

}  // namespace s3d::serve
