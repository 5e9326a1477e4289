// --device, --tensor-split, --split-mode and --main-gpu: which cards run which layers.
#pragma once

#include <string>

#include "base/result.h"
#include "engine/backend_choice.h"

namespace s3d::cli {

// As they were written.
struct CardOptions {
  std::string device;        // "0,1" or "cuda0,cuda1"
  std::string tensor_split;  // "3,1"
  std::string split_mode;    // "layer", "none"
  int main_gpu = -1;

  // Errors: what is no list of cards or of shares; modes that are not there; options that exclude each other.
  Status apply(GpuOptions& gpu) const;
};

}  // namespace s3d::cli
