#include "engine/runtime.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/index.h"
#include "decode/cost_model.h"
#include "engine/adapter_path.h"
#include "engine/model_path.h"
#include "engine/text_stream.h"
#include "model/adapter.h"
#include "model/drafter_file.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

Result<int> choose_context(const RuntimeOptions& options, const ModelConfig& config) {
  if (options.context > config.context_length) {
    if (options.shorter_context) return config.context_length;
    return Error{fmt::format("a context of {} is more than the {} that the model was made for; choose a smaller one",
                             options.context, config.context_length)};
  }
  return options.context > 0 ? options.context : std::min(config.context_length, Runtime::kDefaultContext);
}

bool is_adapter(const DraftFile& file) {
  return file.is_adapter();
}

bool names_adapter(const RuntimeOptions& options) {
  return !options.adapter.empty() && options.adapter != "none";
}

// The files of drafters that the options name or that are found, the adapter of --adapter or the one found first.
// Error: one that was named is none of a drafter's, or the adapter is not good for this model.
Result<std::vector<DraftFile>> draft_files_of(const RuntimeOptions& options, const GgufFile& base,
                                              const ModelConfig& config) {
  std::vector<DraftFile> files;
  if (names_adapter(options)) {
    S3D_ASSIGN(files.emplace_back(), open_draft_file(options.adapter));
    S3D_TRY(open_adapter(files.back().file, config, base_fingerprint(base)));
  }
  for (const std::string& path : options.draft_files) {
    S3D_ASSIGN(files.emplace_back(), open_draft_file(path));
  }
  if (options.adapter == "none") return files;
  const bool has_adapter = std::any_of(files.begin(), files.end(), is_adapter);
  std::vector<DraftFile> found = find_draft_files(base.path(), base_fingerprint(base));
  const auto unwanted = [&](const DraftFile& file) {
    return is_adapter(file) ? has_adapter : !options.draft_files.empty();
  };
  std::erase_if(found, unwanted);
  std::stable_partition(found.begin(), found.end(), is_adapter);
  files.insert(has_adapter ? files.end() : files.begin(), found.begin(), found.end());
  return files;
}

// The tokens whose rows of the LM head draft passes run alone: those of the first adapter that has such passes. One
// that is not good for this model is an error for whoever asks for its drafter.
std::vector<TokenId> head_first(const std::vector<DraftFile>& files, const GgufFile& base, const ModelConfig& config) {
  for (const DraftFile& file : files) {
    if (!file.is_adapter() || file.kind == adapter_names::kKindFused) continue;
    Result<Adapter> adapter = open_adapter(file.file, config, base_fingerprint(base));
    return adapter.ok() ? std::move(adapter->draft_ids) : std::vector<TokenId>();
  }
  return {};
}

// What drafters will have on cards beside the model. A file that cannot be opened is an error for whoever asks for its
// drafter.
struct OnCards {
  std::vector<Adapter> adapters;
  int taps = 0;
};

OnCards on_cards(const std::vector<DraftFile>& files, const GgufFile& base, const ModelConfig& config) {
  OnCards out;
  for (const DraftFile& file : files) {
    if (file.is_adapter()) {
      Result<Adapter> adapter = open_adapter(file.file, config, base_fingerprint(base));
      if (adapter.ok()) out.adapters.push_back(std::move(*adapter));
    } else {
      out.taps = EagleFile::kMaxTaps;
    }
  }
  return out;
}

}  // namespace

Status RuntimeOptions::check() const {
  constexpr int kMaxThreads = 1024, kMaxSequences = 1 << 16, kMaxRows = 4096;
  if (threads < 0 || threads > kMaxThreads) {
    return Error{fmt::format("threads must be from 1 to {} (0 = all cores), got {}", kMaxThreads, threads)};
  }
  if (context < 0) {
    return Error{fmt::format("the context must be 1 or more positions (0 = the model's), got {}", context)};
  }
  if (sequences < 1 || sequences > kMaxSequences) {
    return Error{fmt::format("sequences must be from 1 to {}, got {}", kMaxSequences, sequences)};
  }
  if (gpu.layers < -1) {
    return Error{fmt::format("layers on cards must be 0 or more (-1 = as many as fit), got {}", gpu.layers)};
  }
  if ((gpu.layers >= 0 || gpu.memory > 0 || !gpu.cards.empty() || !gpu.shares.empty()) && !is_on_device(backend)) {
    return Error{
        fmt::format("cards, their layers and memory are chosen for backend '{}', which has none; use --backend cuda",
                    backend_name(backend))};
  }
  if (max_rows < 1 || max_rows > kMaxRows) {
    return Error{fmt::format("rows of a pass must be from 1 to {}, got {}", kMaxRows, max_rows)};
  }
  return Ok();
}

Result<Tokenizer> load_tokenizer(const GgufFile& file, const ModelConfig& config) {
  S3D_ASSIGN(Tokenizer tokenizer, Tokenizer::load(file));
  if (tokenizer.vocab_size() <= config.vocab_size) return tokenizer;
  return Error{fmt::format(
      "{}: its tokenizer (tokenizer.ggml.tokens) has {} tokens, its embedding (token_embd.weight) only {} rows; "
      "the file was converted wrongly, get another one",
      file.path(), tokenizer.vocab_size(), config.vocab_size)};
}

namespace {

// The files of a runtime, checked, before anything is packed.
struct Opened {
  Model model;
  Tokenizer tokenizer;
  std::vector<DraftFile> draft_files;
  int draft_vocab;
  int context, threads;
  OnCards drafters;
};

Result<Opened> open_files(const RuntimeOptions& options) {
  S3D_TRY(options.check());
  S3D_ASSIGN(const std::string path, find_model(options.model));
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  S3D_ASSIGN(ModelConfig config, read_model_config(*file));
  S3D_ASSIGN(const int context, choose_context(options, config));
  S3D_ASSIGN(std::vector<DraftFile> draft_files, draft_files_of(options, *file, config));
  const std::vector<TokenId> first_tokens = head_first(draft_files, *file, config);
  S3D_ASSIGN(Tokenizer tokenizer, load_tokenizer(*file, config));
  OnCards drafters = is_on_device(options.backend) ? on_cards(draft_files, *file, config) : OnCards{};
  S3D_ASSIGN(Model model, open_model(file, std::move(config), first_tokens));
  return Opened{.model = std::move(model),
                .tokenizer = std::move(tokenizer),
                .draft_files = std::move(draft_files),
                .draft_vocab = isize(first_tokens),
                .context = context,
                .threads = options.threads > 0 ? options.threads : usable_cores(),
                .drafters = std::move(drafters)};
}

// `opened` must outlive them.
BackendOptions backend_options(const RuntimeOptions& options, const Opened& opened) {
  const int64_t positions = int64_t{opened.context} * options.sequences;
  return {.kind = options.backend,
          .threads = opened.threads,
          .max_rows = static_cast<int>(std::min<int64_t>(options.max_rows, positions)),
          .gpu = options.gpu,
          .kv_type = options.kv_type,
          .positions = positions,
          .context = opened.context,
          .adapters = opened.drafters.adapters,
          .taps = opened.drafters.taps};
}

}  // namespace

Result<std::vector<BackendPart>> Runtime::plan(const RuntimeOptions& options) {
  S3D_ASSIGN(const Opened opened, open_files(options));
  return plan_backend(opened.model, backend_options(options, opened));
}

Result<std::unique_ptr<Runtime>> Runtime::load(const RuntimeOptions& options) {
  S3D_ASSIGN(Opened opened, open_files(options));
  const BackendOptions how = backend_options(options, opened);
  ThreadPool pool(opened.threads);
  S3D_ASSIGN(LoadedBackend loaded, load_backend(std::move(opened.model), how, pool, options.progress));
  S3D_ASSIGN(KvCache kv, loaded.backend->make_kv_cache(options.kv_type, how.positions));
  return std::unique_ptr<Runtime>(new Runtime({.model = std::move(loaded.model),
                                               .tokenizer = std::move(opened.tokenizer),
                                               .draft_files = std::move(opened.draft_files),
                                               .draft_vocab = opened.draft_vocab,
                                               .backend_kind = options.backend,
                                               .backend = std::move(loaded.backend),
                                               .backend_parts = std::move(loaded.parts),
                                               .kv = std::move(kv),
                                               .context = opened.context,
                                               .threads = opened.threads}));
}

Runtime::Runtime(Parts parts) : parts_(std::move(parts)), costs_(std::make_shared<PassCosts>()) {}

const DraftFile& Runtime::draft_file(std::string_view path) const {
  const auto found = std::find_if(draft_files().begin(), draft_files().end(),
                                  [path](const DraftFile& file) { return file.path == path; });
  S3D_CHECK(found != draft_files().end(), "a file that is not among the drafters' files");
  return *found;
}

const DraftFile* Runtime::first_adapter() const {
  const auto first = std::find_if(draft_files().begin(), draft_files().end(), is_adapter);
  return first == draft_files().end() ? nullptr : &*first;
}

std::string Runtime::adapter_path() const {
  return first_adapter() == nullptr ? "" : first_adapter()->path;
}

MemoryUse Runtime::memory() const {
  size_t drafters = 0, on_cards = 0;
  for (const auto& [name, shared] : shared_) drafters += shared.bytes;
  for (const BackendPart& part : parts_.backend_parts) on_cards += part.on_card ? part.weight_bytes : 0;
  return {.file = file().file_bytes(),
          .weights = model().packed_bytes(),
          .on_cards = on_cards,
          .kv = parts_.kv.bytes(),
          .scratch = backend().scratch_bytes(),
          .drafters = drafters};
}

Result<std::vector<TokenId>> Runtime::encode(std::string_view text, bool parse_special) const {
  std::vector<TokenId> ids = tokenizer().encode(text, /*add_bos=*/true, parse_special);
  if (ids.empty()) return Error{"the prompt is empty: generation needs at least one token"};
  return ids;
}

Result<Generation> Runtime::generate(const KvSequence& seq, std::span<const TokenId> prompt, DecodeOptions options,
                                     const OnToken& on_token) {
  if (!options.is_end) options.is_end = [this](TokenId token) { return tokenizer().is_end(token); };
  if (options.context == 0) options.context = context();
  if (options.model_name.empty()) options.model_name = file().path();
  return s3d::generate(backend(), kv(), seq, prompt, options, on_token, costs());
}

Result<Answer> Runtime::answer(const KvSequence& seq, std::span<const TokenId> prompt, const AnswerOptions& options,
                               const OnText& on_text) {
  TextStream stream(tokenizer(), options.stops);
  std::string text;
  bool drafted = false;  // the last token
  const auto show = [&](const std::string& part) {
    text += part;
    if (on_text && !part.empty()) on_text(part, drafted);
  };
  S3D_ASSIGN(Generation generation, generate(seq, prompt, options.generate, [&](NewToken token) {
               drafted = token.drafted;
               show(stream.push(token.id));
               return stream.stopped() ? Next::kStop : Next::kContinue;
             }));
  show(stream.finish());
  return Answer{.text = std::move(text), .generation = std::move(generation)};
}

}  // namespace s3d
