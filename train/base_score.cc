#include "train/base_score.h"

#include <cmath>

namespace s3d::train {

double BaseScore::perplexity() const {
  return tokens == 0 ? 0 : std::exp(nll / static_cast<double>(tokens));
}

double BaseScore::agreement() const {
  return tokens == 0 ? 0 : static_cast<double>(agreed) / static_cast<double>(tokens);
}

void BaseScore::add(const BaseScore& other) {
  nll += other.nll;
  tokens += other.tokens;
  agreed += other.agreed;
}

Tensor answer_logits(const BaseModel& base, const Sequence& sequence, const Tensor& hidden) {
  return base_logits(base, hidden.slice(0, sequence.prompt_length - 1, sequence.length() - 1));
}

Tensor answer_tokens(const BaseModel& base, const Sequence& sequence) {
  return token_tensor(base, {sequence.tokens.begin() + sequence.prompt_length, sequence.tokens.end()});
}

BaseScore score_answer(const BaseModel& base, const Sequence& sequence, const Tensor& hidden) {
  const torch::NoGradGuard no_grad;
  const Tensor logits = answer_logits(base, sequence, hidden), tokens = answer_tokens(base, sequence);
  const Tensor nll = logits.logsumexp(-1) - logits.gather(1, tokens.unsqueeze(1)).squeeze(1);
  return {nll.sum(torch::kDouble).item<double>(), tokens.size(0), (logits.argmax(-1) == tokens).sum().item<int64_t>()};
}

}  // namespace s3d::train
