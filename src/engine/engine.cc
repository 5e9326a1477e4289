// The public face of the library (s3d/engine.h): Runtime, TextSequence and Conversation behind stable types.
#include "s3d/engine.h"

#include "engine/conversation.h"
#include "engine/prompt.h"
#include "engine/runtime.h"
#include "engine/speculation.h"
#include "engine/text_sequence.h"

namespace s3d {
namespace {

Result<RuntimeOptions> runtime_options(const EngineOptions& options) {
  RuntimeOptions out;
  out.model = options.model;
  out.threads = options.threads;
  out.context = options.context;
  out.sequences = options.sequences;
  out.adapter = options.adapter;
  out.draft_files = options.draft_files;
  out.progress = options.progress;
  S3D_ASSIGN(out.kv_type, parse_kv_type(options.kv_type));
  S3D_ASSIGN(out.backend, parse_backend(options.backend));
  return out;
}

// The speculator of a sequence of answers; made anew when somebody asks for another one.
class Drafting {
 public:
  // What decodes an answer by `options`. Valid until the next call.
  Result<AnswerOptions> prepare(Runtime& runtime, const GenerateOptions& options) {
    if (!made_ || made_for_ != options.speculation) {
      S3D_ASSIGN(speculator_, make_speculator(runtime, options.speculation));
      made_for_ = options.speculation;
      made_ = true;
    }
    return AnswerOptions{.generate = {.sampler = options.sampler,
                                      .max_tokens = options.max_tokens,
                                      .cancelled = options.cancelled,
                                      .speculator = speculator_.get()},
                         .stops = options.stop};
  }

 private:
  bool made_ = false;
  SpeculationOptions made_for_;
  std::unique_ptr<Speculator> speculator_;
};

}  // namespace

// ---- Engine --------------------------------------------------------------------------------------------------------

struct Engine::Impl {
  std::unique_ptr<Runtime> runtime;
};

Engine::Engine(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<Engine> Engine::load(const EngineOptions& options) {
  S3D_ASSIGN(const RuntimeOptions wanted, runtime_options(options));
  S3D_ASSIGN(std::unique_ptr<Runtime> runtime, Runtime::load(wanted));
  auto impl = std::make_shared<Impl>();
  impl->runtime = std::move(runtime);
  return Engine(std::move(impl));
}

ModelInfo Engine::info() const {
  const Runtime& runtime = *impl_->runtime;
  const ModelConfig& config = runtime.config();
  return {.path = runtime.file().path(),
          .name = config.name,
          .family = config.family,
          .layers = config.n_layers,
          .vocab_size = config.vocab_size,
          .context = runtime.context(),
          .adapter = runtime.adapter_path(),
          .backend = std::string(runtime.backend().name())};
}

Result<std::vector<TokenId>> Engine::tokenize(std::string_view text, bool parse_special) const {
  return impl_->runtime->encode(text, parse_special);
}

std::string Engine::detokenize(std::span<const TokenId> tokens) const {
  return impl_->runtime->tokenizer().decode({tokens.begin(), tokens.end()});
}

Result<Answer> Engine::complete(std::string_view prompt, const GenerateOptions& options, const OnText& on_text) {
  S3D_ASSIGN(const std::vector<TokenId> tokens, tokenize(prompt));
  return new_sequence().complete(tokens, options, on_text);
}

Result<Answer> Engine::chat(const std::vector<ChatMessage>& messages, const GenerateOptions& options,
                            const OnText& on_text) {
  S3D_ASSIGN(const PromptMaker prompts, PromptMaker::create(impl_->runtime->tokenizer()));
  S3D_ASSIGN(const std::vector<TokenId> tokens, prompts.chat(messages));
  return new_sequence().complete(tokens, options, on_text);
}

// ---- Sequence ------------------------------------------------------------------------------------------------------

struct Sequence::Impl {
  explicit Impl(std::shared_ptr<Engine::Impl> of) : engine(std::move(of)), text(*engine->runtime) {}

  std::shared_ptr<Engine::Impl> engine;
  TextSequence text;
  Drafting drafting;
};

Sequence::Sequence(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence& Sequence::operator=(Sequence&&) noexcept = default;
Sequence::~Sequence() = default;

Sequence Engine::new_sequence() {
  return Sequence(std::make_unique<Sequence::Impl>(impl_));
}

Result<Answer> Sequence::complete(std::span<const TokenId> prompt, const GenerateOptions& options,
                                  const OnText& on_text) {
  S3D_ASSIGN(const AnswerOptions wanted, impl_->drafting.prepare(*impl_->engine->runtime, options));
  return impl_->text.answer(prompt, wanted, on_text);
}

int Sequence::length() const {
  return impl_->text.tokens();
}

// ---- Chat ----------------------------------------------------------------------------------------------------------

struct Chat::Impl {
  Impl(std::shared_ptr<Engine::Impl> of, PromptMaker prompts, std::optional<std::string> system)
      : engine(std::move(of)), conversation(*engine->runtime, std::move(prompts), std::move(system)) {}

  std::shared_ptr<Engine::Impl> engine;
  Conversation conversation;
  Drafting drafting;
};

Chat::Chat(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;
Chat::~Chat() = default;

Result<Chat> Engine::new_chat(std::optional<std::string> system) {
  S3D_ASSIGN(PromptMaker prompts, PromptMaker::create(impl_->runtime->tokenizer()));
  S3D_TRY(prompts.check_chat());
  return Chat(std::make_unique<Chat::Impl>(impl_, std::move(prompts), std::move(system)));
}

Result<Answer> Chat::ask(std::string text, const GenerateOptions& options, const OnText& on_text) {
  S3D_ASSIGN(const AnswerOptions wanted, impl_->drafting.prepare(*impl_->engine->runtime, options));
  return impl_->conversation.ask(std::move(text), wanted, on_text);
}

void Chat::reset(std::optional<std::string> system) {
  impl_->conversation.reset(std::move(system));
}

bool Chat::undo() {
  return impl_->conversation.undo();
}

const std::vector<ChatMessage>& Chat::messages() const {
  return impl_->conversation.messages();
}

}  // namespace s3d
