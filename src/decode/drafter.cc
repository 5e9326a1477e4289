#include "decode/drafter.h"

namespace s3d {

Result<PassOutput> run_draft_pass(Backend& backend, KvCache& kv, const DraftPass& kind, std::span<const Row> rows,
                                  std::span<const float* const> states) {
  const std::vector<Want> want(rows.size(), Want::kLogits);
  return backend.run({.rows = rows,
                      .layers = kind.layers,
                      .adapter = kind.adapter,
                      .state = states,
                      .kv = KvUse::kScratch,
                      .want = want,
                      .want_hidden = kind.want_hidden,
                      .keep_logits = kind.keep_logits},
                     kv);
}

}  // namespace s3d
