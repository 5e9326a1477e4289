// What a model's file says about the model, for lists and for answers.
#pragma once

#include <string>

#include "file/gguf.h"
#include "serve/model_service.h"

namespace s3d::serve {

// Reads the metadata of a file, no weights. Errors: those of GgufFile::open() and read_model_config().
Result<ModelCard> read_model_card(const std::string& path, const std::string& id, const SamplerOptions& defaults);
Result<ModelCard> make_model_card(const GgufFile& file, const std::string& id, const SamplerOptions& defaults);

// `defaults`, but for what the file's own keys say ("general.sampling.temp" and its kin, as llama.cpp writes them).
// Values out of their ranges are left out.
SamplerOptions file_sampler(const GgufFile& file, SamplerOptions defaults);

}  // namespace s3d::serve
