#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/adapter_path.h"
#include "engine/model_path.h"
#include "kernels/kernels.h"
#include "model/fingerprint.h"
#include "pass/cpu_backend.h"

namespace s3d {
namespace {

Status check_options(const EngineOptions& options) {
  constexpr int kMostThreads = 1024, kMostSequences = 1 << 16;
  if (options.threads < 0 || options.threads > kMostThreads) {
    return Error{fmt::format("threads must be from 1 to {} (0 = all cores), got {}", kMostThreads, options.threads)};
  }
  if (options.context < 0) {
    return Error{fmt::format("the context must be 1 or more positions (0 = the model's), got {}", options.context)};
  }
  if (options.sequences < 1 || options.sequences > kMostSequences) {
    return Error{fmt::format("sequences must be from 1 to {}, got {}", kMostSequences, options.sequences)};
  }
  if (options.max_rows < 1) return Error{fmt::format("rows of a pass must be 1 or more, got {}", options.max_rows)};
  return Ok();
}

Result<int> choose_context(const EngineOptions& options, const ModelConfig& config) {
  if (options.context > config.context_length) {
    return Error{fmt::format("a context of {} is more than the {} that the model was made for; choose a smaller one",
                             options.context, config.context_length)};
  }
  return options.context > 0 ? options.context : std::min(config.context_length, Engine::kDefaultContext);
}

// The adapter that the options name or that is found, or nothing.
Result<std::optional<Adapter>> load_adapter(const EngineOptions& options, const GgufFile& base,
                                            const ModelConfig& config) {
  if (options.adapter == "none") return std::optional<Adapter>();
  const uint64_t fingerprint = base_fingerprint(base);
  const std::string path = options.adapter.empty() ? find_adapter(base.path(), fingerprint) : options.adapter;
  if (path.empty()) return std::optional<Adapter>();
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  S3D_ASSIGN(Adapter adapter, open_adapter(std::make_shared<const GgufFile>(std::move(opened)), config, fingerprint));
  return std::optional(std::move(adapter));
}

struct Loaded {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const PackedAdapter> adapter;
  std::shared_ptr<const NgramTable> ngrams;
  std::string adapter_path;
};

Result<Loaded> load_weights(const std::string& path, const EngineOptions& options, int threads) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  S3D_ASSIGN(ModelConfig config, read_model_config(*file, options.context));
  S3D_TRY(choose_context(options, config));  // before the slow part
  S3D_ASSIGN(const std::optional<Adapter> adapter, load_adapter(options, *file, config));
  ThreadPool pool(threads);
  const std::vector<int32_t> none;
  S3D_ASSIGN(Model model,
             load_model(file, std::move(config), pool, options.progress, adapter ? adapter->draft_ids : none));
  Loaded loaded;
  loaded.model = std::make_shared<const Model>(std::move(model));
  if (adapter) {
    S3D_ASSIGN(loaded.adapter, PackedAdapter::create(*adapter, *loaded.model, &pool));
    loaded.adapter_path = adapter->file->path();
    if (adapter->ngrams.size() > 0) loaded.ngrams = std::make_shared<const NgramTable>(adapter->ngrams);
  }
  return loaded;
}

// Tokens -> text of one answer.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const std::vector<std::string>& stops, const OnText& on_text)
      : tokenizer_(tokenizer), stop_(stops), on_text_(on_text) {}

  Next push(NewToken token) {
    drafted_ = token.drafted;
    show(stop_.push(utf8_.push(tokenizer_.piece(token.id))));
    return stop_.stopped() ? Next::kStop : Next::kContinue;
  }

  std::string finish() {
    if (!stop_.stopped()) show(stop_.push(utf8_.finish()));
    if (!stop_.stopped()) show(stop_.finish());
    return std::move(text_);
  }

 private:
  void show(const std::string& text) {
    if (text.empty()) return;
    text_ += text;
    if (on_text_) on_text_(text, drafted_);
  }

  const Tokenizer& tokenizer_;
  Utf8Stream utf8_;
  StopMatcher stop_;
  const OnText& on_text_;
  std::string text_;
  bool drafted_ = false;  // the last token
};

}  // namespace

Engine::Engine(std::shared_ptr<const Model> model, Tokenizer tokenizer, std::unique_ptr<Backend> backend, KvCache kv)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), backend_(std::move(backend)), kv_(std::move(kv)) {}

Result<Engine> Engine::load(const EngineOptions& options) {
  S3D_TRY(check_options(options));
  S3D_ASSIGN(const std::string path, find_model(options.model));
  S3D_ASSIGN(const Kernels* kernels, choose_kernels());
  const int threads = options.threads > 0 ? options.threads : usable_cores();
  S3D_ASSIGN(Loaded loaded, load_weights(path, options, threads));
  const std::shared_ptr<const Model> model = loaded.model;
  S3D_ASSIGN(Tokenizer tokenizer, Tokenizer::load(*model->file));
  S3D_ASSIGN(const int context, choose_context(options, model->config));
  S3D_ASSIGN(KvCache kv, KvCache::create(model->config, options.kv_type, int64_t{context} * options.sequences));
  S3D_ASSIGN(auto backend, CpuBackend::create(model, threads, kernels, options.max_rows));
  Engine engine(model, std::move(tokenizer), std::move(backend), std::move(kv));
  engine.adapter_ = std::move(loaded.adapter);
  engine.adapter_path_ = std::move(loaded.adapter_path);
  engine.ngrams_ = std::move(loaded.ngrams);
  engine.context_ = context;
  engine.threads_ = threads;
  return engine;
}

MemoryUse Engine::memory() const {
  return {.file = model_->file->file_bytes(),
          .weights = model_->packed_bytes(),
          .kv = kv_.bytes(),
          .scratch = backend_->scratch_bytes(),
          .adapter = (adapter_ ? adapter_->bytes() : 0) + (ngrams_ ? ngrams_->bytes() : 0)};
}

Result<std::vector<TokenId>> Engine::encode(std::string_view text, bool parse_special) const {
  std::vector<TokenId> ids = tokenizer_.encode(text, /*add_bos=*/true, parse_special);
  if (ids.empty()) return Error{"the prompt is empty: generation needs at least one token"};
  return ids;
}

Result<std::vector<TokenId>> Engine::encode_chat(const ChatTemplate& chat_template,
                                                 const std::vector<ChatMessage>& messages) const {
  S3D_ASSIGN(const std::string text, chat_template.render(messages, /*add_generation_prompt=*/true));
  return tokenizer_.encode(text, /*add_bos=*/true, /*parse_special=*/true);
}

Result<Generation> Engine::generate(SeqId seq, std::span<const TokenId> prompt, GenerateOptions options,
                                    const OnToken& on_token) {
  if (!options.is_end) options.is_end = [this](TokenId token) { return tokenizer_.is_end(token); };
  if (options.context == 0) options.context = context_;
  return s3d::generate(*backend_, kv_, seq, prompt, options, on_token);
}

Result<Answer> Engine::answer(SeqId seq, std::span<const TokenId> prompt, const AnswerOptions& options,
                              const OnText& on_text) {
  TextStream stream(tokenizer_, options.stops, on_text);
  S3D_ASSIGN(Generation generation,
             generate(seq, prompt, options.generate, [&stream](NewToken token) { return stream.push(token); }));
  return Answer{.text = stream.finish(), .generation = std::move(generation)};
}

}  // namespace s3d
