#include "train/evaluate.h"

#include <algorithm>

#include "train/anchors.h"

namespace s3d::train {
namespace {

// Anchors of one pass. A GPU takes about as long for 512 as for 64.
size_t anchors_at_once(torch::Device device) {
  return device.is_cpu() ? 64 : 512;
}

}  // namespace

double Acceptance::mean() const {
  return rounds == 0 ? 0 : static_cast<double>(tokens) / static_cast<double>(rounds);
}

double Acceptance::rate(size_t depth) const {
  return reached[depth] == 0 ? 0 : static_cast<double>(accepted[depth]) / static_cast<double>(reached[depth]);
}

void Acceptance::add(const Acceptance& other) {
  rounds += other.rounds;
  tokens += other.tokens;
  reached.resize(std::max(reached.size(), other.reached.size()));
  accepted.resize(reached.size());
  for (size_t j = 0; j < other.reached.size(); ++j) {
    reached[j] += other.reached[j];
    accepted[j] += other.accepted[j];
  }
}

Acceptance walk(const Sequence& sequence, const std::vector<std::vector<int32_t>>& drafts, int chain) {
  Acceptance out;
  out.reached.resize(static_cast<size_t>(chain));
  out.accepted.resize(static_cast<size_t>(chain));
  for (int t = sequence.prompt_length; t + 1 < sequence.length();) {
    const std::vector<int32_t>& draft = drafts[static_cast<size_t>(t - sequence.prompt_length)];
    const int left = sequence.length() - t - 1;  // tokens that are not decided yet
    int right = 0;
    while (right < std::min(chain, left)) {
      const auto j = static_cast<size_t>(right);
      ++out.reached[j];
      if (draft[j] != sequence.tokens[static_cast<size_t>(t + 1 + right)]) break;
      ++out.accepted[j];
      ++right;
    }
    const int produced = std::min(right + 1, left);
    ++out.rounds;
    out.tokens += produced;
    t += produced;
  }
  return out;
}

void append_chains(const Tensor& tokens, std::vector<std::vector<int32_t>>& chains) {
  const Tensor ids = tokens.to(torch::kCPU, torch::kInt).contiguous();
  const auto* first = ids.data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.size(0); ++i) chains.emplace_back(first + i * ids.size(1), first + (i + 1) * ids.size(1));
}

Acceptance evaluate(const Dataset& data, int chain, const Drafts& drafts, int first, int stride) {
  const torch::NoGradGuard no_grad;
  Acceptance total;
  for (auto s = static_cast<size_t>(first); s < data.sequences.size(); s += static_cast<size_t>(stride)) {
    total.add(walk(data.sequences[s], drafts(static_cast<int>(s)), chain));
  }
  return total;
}

std::vector<std::vector<int32_t>> adapter_chains(const DraftBlock& block, const DraftParams& params,
                                                 const Dataset& data, const RecordStore& store, torch::Device device,
                                                 int sequence) {
  const std::vector<int> anchors = all_anchors(data.sequences[static_cast<size_t>(sequence)]);
  std::vector<std::vector<int32_t>> chains;
  const size_t most = anchors_at_once(device);
  for (size_t at = 0; at < anchors.size(); at += most) {
    const size_t end = std::min(anchors.size(), at + most);
    const AnchorGroup group{
        sequence,
        {anchors.begin() + static_cast<std::ptrdiff_t>(at), anchors.begin() + static_cast<std::ptrdiff_t>(end)}};
    const TrainingBatch batch = make_batch(data, store, params.config, {group}, static_cast<int>(end - at), device);
    append_chains(block.draft(params, block.hidden(params, batch.draft), batch.draft.tokens.flatten()), chains);
  }
  return chains;
}

Result<HeldOut> evaluate_pair(const BaseModel& base, const DraftBlock& block, const DraftParams& params,
                              const Dataset& data) {
  HeldOut out;
  const AdapterConfig& config = params.config;
  RecordStoreOptions options = {.layers = config.layers,
                                .states = config.state_rank > 0 ? RecordStates::kAnswer : RecordStates::kNone};
  options.on_hidden = [&](const Sequence& sequence, const Tensor& hidden) {
    out.base.add(score_answer(base, sequence, hidden));
  };
  S3D_ASSIGN(const RecordStore records, RecordStore::build(base, data, options));
  const auto chains = [&](int s) { return adapter_chains(block, params, data, records, base.device, s); };
  out.acceptance = evaluate(data, config.depth(), chains);
  return out;
}

}  // namespace s3d::train
