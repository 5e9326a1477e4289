#include "backend/cuda/token_chooser.h"

#include <fmt/format.h>

#include "base/index.h"

namespace s3d::cuda {

Status TokenChooser::prepare(int rows, int width, const ChoiceAsk& ask) {
  ask_ = ask;
  rows_ = rows;
  width_ = width;
  const size_t n = usize(rows), pieces = n * usize((width + ChooseTask::kPiece - 1) / ChooseTask::kPiece);
  const bool enough = piece_best_.ensure(device_, pieces * usize(ask.best)) && piece_finite_.ensure(device_, pieces) &&
                      tokens_.ensure(device_, n * usize(ask.best)) && finite_.ensure(device_, n) &&
                      next_.ensure(device_, n) &&
                      (!ask.sums || (piece_sums_.ensure(device_, pieces) && sums_.ensure(device_, n)));
  if (enough) return Ok();
  return Error{fmt::format("device {}: no memory left for the choice among {} rows of logits ({} bytes free)",
                           device_.name(), rows, device_.free_bytes())};
}

void TokenChooser::start(const float* logits, int at, int count) {
  device_.kernels().choose(device_.stream(), {.logits = logits,
                                              .n = count,
                                              .width = width_,
                                              .best = ask_.best,
                                              .piece_best = piece_best_.data(),
                                              .piece_finite = piece_finite_.data(),
                                              .piece_sums = ask_.sums ? piece_sums_.data() : nullptr,
                                              .tokens = tokens_.data() + usize(at) * usize(ask_.best),
                                              .finite = finite_.data() + at,
                                              .next = next_.data() + at,
                                              .sums = ask_.sums ? sums_.data() + at : nullptr});
}

Status TokenChooser::fetch(Choices& out) {
  S3D_TRY(device_.synchronize());
  out.resize(rows_, ask_);
  const std::vector<Ranked> tokens = tokens_.download(out.tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) out.tokens[i] = {tokens[i].token, tokens[i].logit};
  out.finite = finite_.download(usize(rows_));
  if (ask_.sums) out.sums = sums_.download(usize(rows_));
  return Ok();
}

size_t TokenChooser::bytes() const {
  return piece_best_.bytes() + tokens_.bytes() + piece_finite_.bytes() + finite_.bytes() + piece_sums_.bytes() +
         sums_.bytes() + next_.bytes();
}

}  // namespace s3d::cuda
