#include "engine/speculation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "decode/drafters.h"
#include "decode/planner.h"
#include "engine/draft_parts.h"
#include "engine/pass_costs.h"
#include "engine/runtime.h"
#include "engine/tuning.h"
#include "model/adapter.h"

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

using MadeDrafter = Result<std::unique_ptr<Drafter>>;

MadeDrafter make_s3d(Runtime& runtime, const SpeculationOptions&, const std::string& file) {
  S3D_ASSIGN(auto adapter, shared_adapter(runtime, file));
  return make_s3d_drafter(runtime.backend(), runtime.kv(), std::move(adapter));
}

MadeDrafter make_fused(Runtime& runtime, const SpeculationOptions&, const std::string& file) {
  S3D_ASSIGN(auto adapter, shared_adapter(runtime, file));
  return make_fused_drafter(runtime.backend(), std::move(adapter));
}

MadeDrafter make_eagle(Runtime& runtime, const SpeculationOptions&, const std::string& file) {
  S3D_ASSIGN(auto head, shared_eagle(runtime, file));
  return make_eagle_drafter(std::move(head));
}

MadeDrafter make_medusa(Runtime& runtime, const SpeculationOptions&, const std::string& file) {
  S3D_ASSIGN(auto heads, shared_medusa(runtime, file));
  return make_medusa_drafter(std::move(heads));
}

MadeDrafter make_untrained(Runtime& runtime, const SpeculationOptions& options, const std::string&) {
  return make_untrained_drafter(runtime, draft_layers(runtime, options), kSequentialDepth - 1);
}

MadeDrafter make_layerskip(Runtime& runtime, const SpeculationOptions& options, const std::string&) {
  return make_layer_skip_drafter(runtime.backend(), runtime.kv(), draft_layers(runtime, options), kSequentialDepth);
}

MadeDrafter make_lookup(Runtime&, const SpeculationOptions&, const std::string&) {
  return make_lookup_drafter();
}

MadeDrafter make_suffix(Runtime& runtime, const SpeculationOptions&, const std::string&) {
  S3D_ASSIGN(auto ngrams, shared_ngrams(runtime));
  return make_suffix_drafter(std::move(ngrams));
}

MadeDrafter make_model(Runtime& runtime, const SpeculationOptions& options, const std::string&) {
  return make_second_model(runtime, options.draft_model);
}

// What a drafter needs beside the model.
enum class Needs : uint8_t { kNothing, kFile, kModel };

// All drafters, in the order in which help shows them: a new one is one line here.
struct DrafterKind {
  std::string_view name;
  Needs needs;
  std::string_view file_kind;  // of kFile: s3d.kind of the file
  // `file`: that it is loaded from, if it needs one.
  MadeDrafter (*make)(Runtime& runtime, const SpeculationOptions& options, const std::string& file);
  std::string_view description;  // behind it stands the file, if it needs one
  bool runs_beside = false;      // as in OpenDrafter
};
constexpr DrafterKind kDrafters[] = {
    {"s3d", Needs::kFile, "s3d", make_s3d, "adapter"},
    {"fused", Needs::kFile, "fused", make_fused, "masks that ride in full passes, adapter"},
    {"eagle", Needs::kFile, "eagle", make_eagle, "a layer of its own on the model's states", /*runs_beside=*/true},
    {"medusa", Needs::kFile, "medusa", make_medusa, "heads on the model's last state", /*runs_beside=*/true},
    {"s3d-untrained", Needs::kNothing, "", make_untrained, "the floor of s3d: masks without training"},
    {"layerskip", Needs::kNothing, "", make_layerskip, "first and last layers, token by token"},
    {"lookup", Needs::kNothing, "", make_lookup, "n-grams of prompt and answer"},
    {"suffix", Needs::kNothing, "", make_suffix, "suffix automaton of prompt and answer, n-grams of the adapter"},
    {"model", Needs::kModel, "", make_model, "a smaller model with the same vocabulary"},
};

const DrafterKind* find_kind(std::string_view name) {
  const auto found = std::find_if(std::begin(kDrafters), std::end(kDrafters),
                                  [name](const DrafterKind& kind) { return kind.name == name; });
  return found == std::end(kDrafters) ? nullptr : found;
}

// "s3d=FILE" names one of several files.
struct DrafterName {
  std::string_view name, file;  // `file` empty: the first of its kind
};
DrafterName split_name(std::string_view text) {
  const size_t at = text.find('=');
  return at == std::string_view::npos ? DrafterName{text, {}} : DrafterName{text.substr(0, at), text.substr(at + 1)};
}

Error no_file(const Runtime& runtime, const DrafterKind& kind) {
  if (kind.runs_beside) {
    return Error{fmt::format(
        "--spec {}: no file of that drafter for {} was found; train one with s3d-train {}, or name one with "
        "--draft-file",
        kind.name, runtime.file().path(), kind.name)};
  }
  const bool fused = kind.file_kind == adapter_names::kKindFused;
  return Error{
      fmt::format("--spec {}: no {}adapter for {} was found{}; train one with s3d-train{}, name one with --adapter, or "
                  "use s3d-untrained or layerskip",
                  kind.name, fused ? "fused " : "", runtime.file().path(),
                  runtime.adapter_path().empty()
                      ? ""
                      : fmt::format(" (the one of this model is for --spec {})", fused ? "s3d" : "fused"),
                  fused ? " adapter --fused" : "")};
}

// The file of `kind` that is called `name`; the first of that kind if it is empty. Error: it is not there.
Result<std::string> file_of(const Runtime& runtime, const DrafterKind& kind, std::string_view name) {
  std::vector<std::string> others;
  for (const DraftFile& file : runtime.draft_files()) {
    if (file.kind != kind.file_kind) continue;
    if (name.empty() || file.is_called(name)) return file.path;
    others.push_back(file.path);
  }
  if (others.empty()) return no_file(runtime, kind);
  return Error{
      fmt::format("--spec {}={}: no such file of that drafter is open, there is {}; name one with --draft-file",
                  kind.name, name, fmt::join(others, ", "))};
}

// A drafter, and the file that it is loaded from, if there is one.
struct MadeOf {
  std::unique_ptr<Drafter> drafter;
  std::string file;
};

Result<MadeOf> make_drafter(Runtime& runtime, const SpeculationOptions& options) {
  const LayerSet layers = draft_layers(runtime, options);
  if (layers.count() > runtime.config().n_layers) {
    return Error{fmt::format("--draft-layers {}+{}: the model has {} layers", layers.first, layers.last,
                             runtime.config().n_layers)};
  }
  const DrafterName wanted = split_name(options.drafter);
  const DrafterKind* kind = find_kind(wanted.name);
  if (kind == nullptr) return Error{fmt::format("no drafter '{}'", options.drafter)};
  std::string file;
  if (kind->needs == Needs::kFile) {
    S3D_ASSIGN(file, file_of(runtime, *kind, wanted.file));
  }
  S3D_ASSIGN(std::unique_ptr<Drafter> drafter, kind->make(runtime, options, file));
  return MadeOf{std::move(drafter), std::move(file)};
}

// What a planner chooses from.
struct Choice {
  std::vector<std::unique_ptr<Drafter>> free, passes;
  std::vector<std::string> cost_keys, files;  // [passes]; a file may be ""
  std::string names;                          // two of the same names choose from the same
};

// The drafter `options.drafter`.
Status add_choice(Runtime& runtime, const SpeculationOptions& options, Choice& choice) {
  S3D_ASSIGN(MadeOf made, make_drafter(runtime, options));
  const std::string key = cost_key(runtime, options, *made.drafter);
  choice.names += fmt::format("{} {}, ", key, made.file);
  if (made.drafter->needs_pass()) {
    choice.passes.push_back(std::move(made.drafter));
    choice.cost_keys.push_back(key);
    choice.files.push_back(std::move(made.file));
  } else {
    choice.free.push_back(std::move(made.drafter));
  }
  return Ok();
}

// The text drafter, and all drafters whose files are there for it; of those with masks that ride the first, which comes
// last of the free ones.
Result<Choice> all_choices(Runtime& runtime, const SpeculationOptions& options) {
  std::vector<std::string> names = {"suffix"};
  const std::span<const DraftFile> files = runtime.draft_files();
  const bool runs_beside = runtime.backend().can_multiply().ok();
  bool has_fused = false;
  for (const DraftFile& file : files) {
    const DrafterKind* kind = find_kind(file.kind);
    if (!file.for_auto || kind == nullptr || (kind->runs_beside && !runs_beside)) continue;
    if (kind->name == "fused" && std::exchange(has_fused, true)) continue;
    names.push_back(fmt::format("{}={}", kind->name, file.path));
  }
  Choice choice;
  for (std::string& name : names) {
    SpeculationOptions named = options;
    named.drafter = std::move(name);
    S3D_TRY(add_choice(runtime, named, choice));
  }
  return choice;
}

// What is known of these drafters before anything was drafted here.
Result<std::shared_ptr<Experience>> first_experience(Runtime& runtime, const Choice& choice,
                                                     const std::function<void()>& on_measure) {
  auto experience = std::make_shared<Experience>();
  MeasuredCosts costs;
  if (choice.passes.empty()) {
    S3D_ASSIGN(costs, pass_costs(runtime, nullptr, "none", on_measure));
  }
  for (size_t i = 0; i < choice.passes.size(); ++i) {
    S3D_ASSIGN(costs, pass_costs(runtime, choice.passes[i].get(), choice.cost_keys[i], on_measure));
    experience->pass.push_back({.costs = costs.draft, .chances = {}, .record = {}});
    experience->pass.back().chances.begin_with(tuned_chances(runtime, choice.passes[i]->name(), choice.files[i]));
  }
  if (!runtime.costs()->measured) *runtime.costs() = costs.full;
  return experience;
}

Result<std::unique_ptr<Speculator>> make_planned(Runtime& runtime, const SpeculationOptions& options, Choice choice,
                                                 const std::function<void()>& on_measure) {
  std::shared_ptr<Experience>& experience = runtime.experience(choice.names);
  if (experience == nullptr) {
    S3D_ASSIGN(experience, first_experience(runtime, choice, on_measure));
  }
  return std::unique_ptr<Speculator>(
      std::make_unique<Planner>(std::move(choice.free), std::move(choice.passes), experience, options.draft_width));
}

}  // namespace

std::vector<std::string_view> drafter_names() {
  std::vector<std::string_view> names = {"off", "auto"};
  for (const DrafterKind& kind : kDrafters) names.push_back(kind.name);
  return names;
}

Status SpeculationOptions::check() const {
  const std::vector<std::string_view> names = drafter_names();
  const DrafterName wanted = split_name(drafter);
  if (std::find(names.begin(), names.end(), wanted.name) == names.end()) {
    return Error{fmt::format("--spec '{}' is not known; expected one of {}", drafter, fmt::join(names, ", "))};
  }
  const DrafterKind* kind = find_kind(wanted.name);
  if (drafter.find('=') != std::string::npos &&
      (kind == nullptr || kind->needs != Needs::kFile || wanted.file.empty())) {
    return Error{
        fmt::format("--spec '{}': expected the name of a drafter that has a file, '=', and that file", drafter)};
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

Result<std::unique_ptr<Drafter>> make_named_drafter(Runtime& runtime, const SpeculationOptions& options) {
  S3D_TRY(options.check());
  S3D_ASSIGN(MadeOf made, make_drafter(runtime, options));
  return std::move(made.drafter);
}

Result<std::unique_ptr<Drafter>> make_untrained_drafter(Runtime& runtime, LayerSet layers, int masks) {
  S3D_ASSIGN(auto floor, PackedAdapter::untrained(runtime.model(), layers, masks, runtime.draft_vocab()));
  return make_s3d_drafter(runtime.backend(), runtime.kv(), std::move(floor), "s3d-untrained");
}

std::string drafter_cost_key(const Runtime& runtime, const SpeculationOptions& options, const Drafter& drafter) {
  return cost_key(runtime, options, drafter);
}

std::vector<OpenDrafter> open_drafters(std::span<const DraftFile> files) {
  std::vector<OpenDrafter> open;
  for (const DrafterKind& kind : kDrafters) {
    const std::string name(kind.name), text(kind.description);
    if (kind.needs == Needs::kNothing) open.push_back({.name = name, .note = text, .file = ""});
    if (kind.needs != Needs::kFile) continue;
    bool first = true;
    for (size_t i = 0; i < files.size(); ++i) {
      if (files[i].kind != kind.file_kind) continue;
      open.push_back({.name = std::exchange(first, false) ? name : fmt::format("{}={}", name, short_name(files, i)),
                      .note = text + " " + files[i].path,
                      .file = files[i].path,
                      .runs_beside = kind.runs_beside});
    }
  }
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
    if (options.draft_rows == 0) {
      S3D_ASSIGN(Choice choice, all_choices(runtime, options));
      return make_planned(runtime, options, std::move(choice), on_measure);
    }
    const DraftFile* adapter = runtime.first_adapter();
    named.drafter = adapter == nullptr ? "suffix" : adapter->kind;
  }
  if (options.draft_rows > 0) {
    S3D_ASSIGN(MadeOf made, make_drafter(runtime, named));
    return make_fixed_speculator(std::move(made.drafter), options.draft_rows, options.draft_width);
  }
  Choice choice;
  S3D_TRY(add_choice(runtime, named, choice));
  return make_planned(runtime, named, std::move(choice), on_measure);
}

}  // namespace s3d
