// What the training of a drafter cost, as far as its file says it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace s3d::cli {

// Metadata of a drafter's file (docs/adapter.md); each may be absent.
struct TrainingCost {
  std::optional<double> core_seconds;  // `s3d.training.core_seconds`: seconds times cores, of all runs together
  std::optional<int64_t> anchors;      // `s3d.training.anchors`: positions that were trained on
  std::optional<std::string> device;   // `s3d.training.device`: absent: a processor
};

// All absent where `path` is empty, is no GGUF file, or says nothing.
TrainingCost read_training_cost(const std::string& path);

// "1.4 core hours, 396168 anchors"; empty where nothing is known.
std::string training_text(const TrainingCost& cost);

}  // namespace s3d::cli
