#include "train/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "train/keyed_random.h"
#include "train/progress.h"

namespace s3d::train {
namespace {

Status load_data(const Recipe& recipe, const ModelConfig& config, Inputs& in) {
  S3D_ASSIGN(in.data, read_dataset(recipe.data, config.vocab_size, recipe.max_length));
  in.data_hash = in.data.hash;
  if (!recipe.held_out_data.empty()) {
    S3D_ASSIGN(in.held_out, read_dataset(recipe.held_out_data, config.vocab_size, recipe.max_length));
    in.data_hash = keyed(in.data_hash, in.held_out.hash);
  } else {
    if (in.data.sequences.size() < 2) return Error{recipe.data[0] + ": at least two sequences are needed"};
    in.held_out = split_held_out(in.data, recipe.held_out, recipe.seed);
  }
  return Ok();
}

int longest_of(const Dataset& a, const Dataset& b) {
  int longest = 1;
  for (const Dataset* data : {&a, &b}) {
    for (const Sequence& sequence : data->sequences) longest = std::max(longest, sequence.length());
  }
  return longest;
}

// Base records are of the base as it was before.
void forget_records(Dataset& data) {
  for (Sequence& sequence : data.sequences) sequence.record_at = -1;
}

}  // namespace

Dataset split_held_out(Dataset& data, int count, uint64_t seed) {
  const size_t n = data.sequences.size();
  const size_t wanted = std::max<size_t>(1, std::min(static_cast<size_t>(count), n / 10));
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return keyed(seed, 0x4e1d, a) < keyed(seed, 0x4e1d, b); });
  std::vector<bool> held(n);
  for (size_t i = 0; i < wanted; ++i) held[order[i]] = true;
  Dataset rest, out;
  rest.files = out.files = data.files;
  for (size_t i = 0; i < n; ++i) (held[i] ? out : rest).sequences.push_back(std::move(data.sequences[i]));
  rest.hash = keyed(data.hash, wanted, seed, 0);
  out.hash = keyed(data.hash, wanted, seed, 1);
  data = std::move(rest);
  return out;
}

Dataset share_of(const Dataset& data, int first, int stride) {
  Dataset share;
  share.files = data.files;
  share.hash = data.hash;
  for (auto i = static_cast<size_t>(first); i < data.sequences.size(); i += static_cast<size_t>(stride)) {
    share.sequences.push_back(data.sequences[i]);
  }
  return share;
}

RecordStoreOptions record_store_options(const Recipe& recipe, const char* name) {
  RecordStoreOptions options = recorded(recipe);
  if (!recipe.record_folder.empty()) options.folder = recipe.record_folder + "/" + name;
  if (!recipe.log) return options;
  options.progress = [log = recipe.log, clock = Progress()](int64_t done, int64_t total) mutable {
    if (!clock.due(done >= total)) return;
    const double rate = static_cast<double>(done) / clock.seconds();
    log(fmt::format("base records of {} of {} tokens, {:.0f} tokens/s, {:.0f} s left", done, total, rate,
                    static_cast<double>(total - done) / rate));
  };
  return options;
}

Result<Inputs> load_inputs(Recipe& recipe) {
  Inputs in;
  {
    S3D_ASSIGN(const GgufFile file, GgufFile::open(recipe.model));
    S3D_ASSIGN(const ModelConfig config, read_model_config(file));
    LayerSet& layers = recipe.adapter.layers;
    if (layers.count() == 0 && recipe.has_adapter()) {
      layers = recipe.adapter.fused ? LayerSet::all(config.n_layers) : default_draft_layers(config.n_layers);
    }
    S3D_TRY(check_recipe(recipe, config));
    S3D_TRY(load_data(recipe, config, in));
    S3D_TRY(
        check_memory(recipe, file, config, in.data.tokens(), in.held_out.tokens(), longest_of(in.data, in.held_out)));
  }
  if (recipe.joint) {
    forget_records(in.data);
    forget_records(in.held_out);
  }
  // A draft row lies up to `masks` positions after the last token.
  const int context = longest_of(in.data, in.held_out) + recipe.adapter.masks;
  S3D_ASSIGN(in.base, load_base(recipe.model, recipe.base_dtype, recipe.device, context));
  return in;
}

std::vector<int32_t> first_draft_ids(const Recipe& recipe, const Inputs& in) {
  const int vocab = in.base.config.vocab_size;
  if (recipe.draft_vocab == 0 || recipe.draft_vocab >= vocab) return {};
  return frequent_tokens(in.data, vocab, recipe.draft_vocab);
}

Result<DraftParams> first_params(const Recipe& recipe, const Inputs& in) {
  std::vector<int32_t> ids = first_draft_ids(recipe, in);
  if (recipe.init.empty()) return new_params(in.base, recipe.adapter, std::move(ids), recipe.seed);
  S3D_ASSIGN(const DraftParams from, read_params(in.base, recipe.init));
  if (recipe.draft_vocab > 0) ids = from.draft_ids;  // the Markov head's rows belong to them
  DraftParams params = new_params(in.base, recipe.adapter, std::move(ids), recipe.seed);
  const int copied = copy_matching(from, params);
  if (recipe.log) recipe.log(fmt::format("{} of {} tensors from {}", copied, params.tensors.size(), recipe.init));
  return params;
}

}  // namespace s3d::train
