#include "decode/drafter.h"

#include <algorithm>

#include "base/check.h"
#include "base/index.h"

namespace s3d {

bool is_same_kind(const DraftPass& a, const DraftPass& b) {
  return a.runner == b.runner && a.backend == b.backend && a.kv == b.kv && a.use == b.use && a.layers == b.layers &&
         a.adapter == b.adapter && a.inputs.empty() == b.inputs.empty() && a.want_hidden == b.want_hidden &&
         a.keep_logits == b.keep_logits;
}

int max_rows(const DraftPass& kind) {
  return kind.runner != nullptr ? kind.runner->max_rows() : kind.backend->max_rows();
}

int free_pages(const DraftPass& kind) {
  return kind.kv == nullptr ? 0 : kind.kv->free_pages();
}

int pages_to_reserve(const DraftPass& pass) {
  return pass.rows.empty() || pass.kv == nullptr ? 0
                                                 : pass.kv->pages_to_reserve(pass.rows.front().seq, isize(pass.rows));
}

Result<PassOutput> run_together(std::span<const DraftPass* const> passes) {
  S3D_CHECK(!passes.empty());
  const DraftPass& kind = *passes.front();
  if (kind.runner != nullptr) return kind.runner->run(passes);
  std::vector<Row> rows;
  std::vector<Want> want;
  std::vector<const float*> states, inputs;
  for (const DraftPass* pass : passes) {
    S3D_CHECK(is_same_kind(*pass, kind), "draft passes of two kinds");
    const int begin = isize(rows);
    const size_t width = pass->inputs.size() / pass->rows.size();
    for (size_t i = 0; i < pass->rows.size(); ++i) {
      rows.push_back(pass->rows[i]);
      if (rows.back().parent >= 0) rows.back().parent += begin;
      want.push_back(pass->want.empty() ? Want::kLogits : pass->want[i]);
      if (kind.adapter != nullptr) states.push_back(pass->state);
      if (width > 0) inputs.push_back(&pass->inputs[i * width]);
    }
  }
  return kind.backend->run({.rows = rows,
                            .layers = kind.layers,
                            .adapter = kind.adapter,
                            .state = states,
                            .kv = kind.use,
                            .want = want,
                            .want_hidden = kind.want_hidden,
                            .keep_logits = kind.keep_logits,
                            .input = inputs},
                           *kind.kv);
}

PassOutput slice(const PassOutput& out, int begin, int count, int all) {
  const auto part = [&](std::span<const float> values) {
    const size_t width = all > 0 ? values.size() / usize(all) : 0;
    return values.subspan(usize(begin) * width, usize(count) * width);
  };
  return {.logits = part(out.logits),
          .hidden = part(out.hidden),
          .kept = out.kept > 0 ? count : 0,
          .first_kept = out.first_kept + begin,
          .tapped = {}};
}

Status Drafter::draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) {
  DraftPass pass;
  ask(input, limits, pass, tree);
  while (!pass.rows.empty()) {
    if (pages_to_reserve(pass) > free_pages(pass)) {
      take(input, limits, nullptr, pass, tree);
      continue;
    }
    const DraftPass* const alone = &pass;
    S3D_ASSIGN(const PassOutput out, run_together({&alone, 1}));
    take(input, limits, &out, pass, tree);
  }
  return Ok();
}

}  // namespace s3d
