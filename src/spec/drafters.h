// Drafters that run layers of a model.
#pragma once

#include <memory>

#include "pass/pass.h"
#include "spec/drafter.h"

namespace s3d {

class PackedAdapter;

// S3D (DESIGN section 1): one draft pass over the last token and mask tokens, with the adapter (trained, or the
// untrained floor). `name`: "s3d" or "s3d-untrained". Backend and cache must outlive the drafter.
std::unique_ptr<Drafter> make_s3d_drafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter,
                                          std::string_view name = "s3d");

// Draft & Verify: the kept layers alone, without masks or adapter, draft one token after another, at most `depth`.
std::unique_ptr<Drafter> make_layer_skip_drafter(Backend& backend, KvCache& kv, LayerSet layers, int depth);

// A second, smaller model with the same vocabulary drafts one token after another. `backend` and `kv` are its own; the
// drafter keeps one sequence in `kv`. `bytes`: what the second model takes.
std::unique_ptr<Drafter> make_model_drafter(std::shared_ptr<Backend> backend, std::shared_ptr<KvCache> kv, int depth,
                                            size_t bytes);

}  // namespace s3d
