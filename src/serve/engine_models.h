// Models of the engine for a server: which files there are, and how they are loaded.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/call.h"
#include "serve/engine_service.h"
#include "serve/model_pool.h"

namespace s3d::serve {

struct EngineModelsOptions {
  std::vector<ModelSource> sources;  // models that were named; the first is the one that an empty name means
  std::string folder;                // all models in this folder, and below it, are served too; empty: none
  RuntimeOptions runtime;            // `model` is each model's own; a shorter context than `context` is no error
  EngineServiceOptions service;      // `id` and `aliases` are each model's own
  int64_t keep_alive = 300;          // seconds
  int64_t memory_budget = 0;         // bytes; 0: no limit
};

// Loads nothing yet (ModelPool::load_first()).
std::unique_ptr<ModelPool> make_model_pool(const EngineModelsOptions& options);

// The GGUF files in a folder and below it, by the path inside it without ".gguf"; of a split model its first part. A
// file that lies as a hub's files do, USER/REPO/FILE, also answers to "USER/REPO", "hf.co/USER/REPO" and
// "hf.co/USER/REPO:Q4_K_M". A folder that cannot be read is empty.
std::vector<ModelSource> models_in(const std::string& folder);

// Downloads into `folder`; names are "hf.co/USER/REPO[:TAG or FILE]", "hf:USER/REPO[:FILE]" and "USER/REPO". Then
// `pool` has it. A name that `pool` has already is done at once. `pool` must outlive it.
PullModel make_pull(ModelPool& pool, std::string folder);

}  // namespace s3d::serve
