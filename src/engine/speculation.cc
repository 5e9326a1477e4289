#include "engine/speculation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "decode/drafters.h"
#include "decode/planner.h"
#include "engine/model_path.h"
#include "engine/pass_costs.h"
#include "engine/runtime.h"

namespace s3d {
namespace {

constexpr int kSequentialDepth = 4;  // tokens that layerskip and a draft model make at most, a pass each

// Embeddings of one family are padded to different multiples: as llama.cpp, 128 rows of difference are let pass where
// all tokens that both tokenizers have are the same.
constexpr int kMaxPadding = 128;

Status check_same_vocabulary(const Runtime& draft, const Runtime& target, const std::string& name) {
  const int difference = std::abs(draft.config().vocab_size - target.config().vocab_size);
  if (difference > kMaxPadding) {
    return Error{
        fmt::format("the draft model {} has {} tokens in its vocabulary, the target {}; a draft model must "
                    "have the same vocabulary (but for up to {} rows of padding)",
                    name, draft.config().vocab_size, target.config().vocab_size, kMaxPadding)};
  }
  const int common = std::min(draft.tokenizer().vocab_size(), target.tokenizer().vocab_size());
  for (TokenId token = 0; token < common; ++token) {
    if (draft.tokenizer().piece(token, true) == target.tokenizer().piece(token, true)) continue;
    return Error{
        fmt::format("token {} is not the same in the draft model {} and the target; a draft model must have "
                    "the same vocabulary",
                    token, name)};
  }
  return Ok();
}

// The draft model on an engine of its own, with a KV cache for one sequence of the target's context, or its own if that
// is shorter.
Result<std::unique_ptr<Drafter>> make_second_model(Runtime& runtime, const std::string& name) {
  if (name.empty()) return Error{"--spec model needs --draft-model: a smaller model with the same vocabulary"};
  S3D_ASSIGN(std::unique_ptr<Runtime> loaded, Runtime::load({.model = name,
                                                             .threads = runtime.threads(),
                                                             .context = runtime.context(),
                                                             .shorter_context = true,
                                                             .backend = runtime.backend_kind(),
                                                             .max_rows = 64,
                                                             .adapter = "none"}));
  const std::shared_ptr<Runtime> second = std::move(loaded);
  S3D_TRY(check_same_vocabulary(*second, runtime, name));
  const MemoryUse memory = second->memory();
  const std::shared_ptr<Backend> backend(second, &second->backend());
  const std::shared_ptr<KvCache> kv(second, &second->kv());
  return make_model_drafter(backend, kv, kSequentialDepth, runtime.config().vocab_size,
                            memory.weights + memory.scratch);
}

LayerSet draft_layers(const Runtime& runtime, const SpeculationOptions& options) {
  return options.layers.value_or(default_draft_layers(runtime.config().n_layers));
}

// Two drafters of one key cost the same.
std::string cost_key(const Runtime& runtime, const SpeculationOptions& options, const Drafter& drafter) {
  if (options.drafter == "model") return fmt::format("model {}", options.draft_model);
  if (options.drafter != "layerskip" && options.drafter != "s3d-untrained") return std::string(drafter.name());
  const LayerSet layers = draft_layers(runtime, options);
  return fmt::format("{} {}+{}", drafter.name(), layers.first, layers.last);
}

Result<std::unique_ptr<Drafter>> make_drafter(Runtime& runtime, const SpeculationOptions& options) {
  const int n_layers = runtime.config().n_layers;
  const LayerSet layers = draft_layers(runtime, options);
  if (layers.count() > n_layers) {
    return Error{fmt::format("--draft-layers {}+{}: the model has {} layers", layers.first, layers.last, n_layers)};
  }
  if (options.drafter == "s3d") {
    if (runtime.adapter()) return make_s3d_drafter(runtime.backend(), runtime.kv(), runtime.adapter());
    return Error{
        fmt::format("--spec s3d: no adapter for {} was found; train one with s3d-train, name one with "
                    "--adapter, or use s3d-untrained or layerskip",
                    runtime.file().path())};
  }
  if (options.drafter == "s3d-untrained") {
    const int draft_vocab = runtime.adapter() ? runtime.adapter()->config().draft_vocab : 0;
    S3D_ASSIGN(auto floor, PackedAdapter::untrained(runtime.model(), layers, kSequentialDepth - 1, draft_vocab));
    return make_s3d_drafter(runtime.backend(), runtime.kv(), std::move(floor), "s3d-untrained");
  }
  if (options.drafter == "layerskip") {
    return make_layer_skip_drafter(runtime.backend(), runtime.kv(), layers, kSequentialDepth);
  }
  if (options.drafter == "lookup") return make_lookup_drafter();
  if (options.drafter == "suffix") return make_suffix_drafter(runtime.ngrams());
  if (options.drafter == "model") return make_second_model(runtime, options.draft_model);
  return Error{fmt::format("no drafter '{}'", options.drafter)};
}

// A planner over `drafter` (may be null) and, if `with_text`, the drafters that look into the text.
Result<std::unique_ptr<Speculator>> make_planned(Runtime& runtime, const SpeculationOptions& options,
                                                 std::unique_ptr<Drafter> drafter, bool with_text,
                                                 const std::function<void()>& on_measure) {
  std::vector<std::unique_ptr<Drafter>> free;
  if (with_text) free.push_back(make_suffix_drafter(runtime.ngrams()));
  std::unique_ptr<Drafter> pass;
  if (drafter != nullptr && drafter->needs_pass()) {
    pass = std::move(drafter);
  } else if (drafter != nullptr) {
    free.push_back(std::move(drafter));
  }
  const std::string key = pass ? cost_key(runtime, options, *pass) : "none";
  const std::string drafters = fmt::format("{} {}", free.size(), key);
  std::shared_ptr<Experience>& experience = runtime.experience(drafters);
  if (experience == nullptr) {
    S3D_ASSIGN(const MeasuredCosts costs, pass_costs(runtime, pass.get(), key, on_measure));
    experience = std::make_shared<Experience>();
    experience->draft = costs.draft;
    if (!runtime.costs()->measured) *runtime.costs() = costs.full;
  }
  return std::unique_ptr<Speculator>(
      std::make_unique<Planner>(std::move(free), std::move(pass), experience, options.draft_width));
}

}  // namespace

std::vector<std::string_view> drafter_names() {
  return {"off", "auto", "s3d", "s3d-untrained", "layerskip", "lookup", "suffix", "model"};
}

Status SpeculationOptions::check() const {
  const std::vector<std::string_view> names = drafter_names();
  if (std::find(names.begin(), names.end(), drafter) == names.end()) {
    return Error{fmt::format("--spec '{}' is not known; expected one of {}", drafter, fmt::join(names, ", "))};
  }
  if (draft_rows < 0 || draft_rows > kMaxDraft) {
    return Error{
        fmt::format("--draft-rows must be from 1 to {} (0 = the planner chooses), got {}", kMaxDraft, draft_rows)};
  }
  if (draft_width < 1 || draft_width > kMaxDraft) {
    return Error{fmt::format("--draft-width must be from 1 (a chain) to {}, got {}", kMaxDraft, draft_width)};
  }
  return Ok();
}

std::vector<OpenDrafter> open_drafters(const std::string& adapter_path) {
  std::vector<OpenDrafter> open;
  if (!adapter_path.empty()) open.push_back({"s3d", "adapter " + adapter_path});
  open.push_back({"s3d-untrained", "the floor of s3d: masks without training"});
  open.push_back({"layerskip", "first and last layers, token by token"});
  open.push_back({"lookup", "n-grams of prompt and answer"});
  open.push_back({"suffix", "suffix automaton of prompt and answer, n-grams of the adapter"});
  return open;
}

Result<std::unique_ptr<Speculator>> make_speculator(Runtime& runtime, const SpeculationOptions& options,
                                                    const std::function<void()>& on_measure) {
  S3D_TRY(options.check());
  if (options.drafter == "off") return std::unique_ptr<Speculator>();
  // Rows of a backend for checking cost the same alone and together: nothing can be gained, so only drafts that were
  // asked for.
  if (options.drafter == "auto" && !is_for_speed(runtime.backend_kind())) {
    return std::unique_ptr<Speculator>();
  }
  SpeculationOptions named = options;
  if (options.drafter == "auto") {
    const bool fixed = options.draft_rows > 0;
    if (!runtime.adapter() && !fixed) return make_planned(runtime, options, nullptr, /*with_text=*/true, on_measure);
    named.drafter = runtime.adapter() ? "s3d" : "suffix";
  }
  S3D_ASSIGN(auto drafter, make_drafter(runtime, named));
  if (options.draft_rows > 0) {
    return make_fixed_speculator(std::move(drafter), options.draft_rows, options.draft_width);
  }
  return make_planned(runtime, named, std::move(drafter), options.drafter == "auto", on_measure);
}

}  // namespace s3d
