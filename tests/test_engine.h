// Opens models on the engine and on the reference, for tests that compare the two. Failures fail the test.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_model.h"
#include "tiny_model.h"

namespace s3d {

std::shared_ptr<const GgufFile> open_file(const std::string& path);
ModelConfig config_of(const GgufFile& file);

// A model on two threads and the kernels of this CPU (or of S3D_CPU).
struct TestEngine {
  std::shared_ptr<const Model> model;
  std::unique_ptr<CpuBackend> backend;
};
TestEngine open_engine(const std::string& path);
TestEngine open_tiny_engine(const TinyModelOptions& options);  // leaves no file behind

// Commits rows [0, n_context), a chain from position 0, and runs the others as one block over `layers` (their parents
// are indices in `rows`); returns the logits of those, [rows - n_context, vocab].
std::vector<float> engine_logits(const TestEngine& runtime, std::span<const Row> rows, int n_context, KvType kv_type,
                                 LayerSet layers);

// Logits of the reference after the wanted rows, [wanted, vocab]; `layers` as in ReferenceModel::run.
std::vector<double> reference_logits(std::shared_ptr<const GgufFile> file, const ModelConfig& config,
                                     std::span<const Row> rows, std::span<const LayerSet> layers,
                                     std::span<const int> wanted, ReferenceRounding rounding = {});

}  // namespace s3d
