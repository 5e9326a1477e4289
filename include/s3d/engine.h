// The front door of the library: from the name of a model to text.
//
//   auto engine = s3d::Engine::load({.model = "model.gguf"});
//   if (!engine.ok()) { …engine.error().message… }
//   auto answer = engine->complete("Once upon a time", {.max_tokens = 64});
//
// Answers are decoded with speculation unless GenerateOptions says otherwise; their text is that of plain decoding.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "s3d/options.h"
#include "s3d/result.h"
#include "s3d/types.h"

namespace s3d {

class Chat;
class Sequence;

// What a loaded model is.
struct ModelInfo {
  std::string path;     // of its file
  std::string name;     // general.name of the file, may be empty
  std::string family;   // llama, qwen2, …
  int layers = 0;       //
  int vocab_size = 0;   //
  int context = 0;      // positions of one sequence
  std::string adapter;  // path of the draft adapter; empty: none was found
  std::string backend;  // what computes: "avx512", "avx2", "portable", "reference"
};

// A model, loaded and ready. Handles made from it (Sequence, Chat) keep the model alive.
// Thread rule: one call at a time for an engine and all its handles.
class Engine {
 public:
  // Opens the file, checks it, packs the weights. Errors: no such model; anything in the file that is wrong or not
  // supported; an option out of range; not enough memory for the KV cache.
  static Result<Engine> load(const EngineOptions& options);
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  ModelInfo info() const;

  // Ids of a text, with BOS first where the model wants it. `parse_special`: special tokens that are written in the
  // text are meant as such. Error: no tokens.
  Result<std::vector<TokenId>> tokenize(std::string_view text, bool parse_special = true) const;
  std::string detokenize(std::span<const TokenId> tokens) const;  // special tokens give no text

  // Continues a text as it stands, without a chat template. Errors: an empty prompt, one that does not fit into the
  // context, options out of range, a drafter that this model does not have.
  Result<Answer> complete(std::string_view prompt, const GenerateOptions& options = {}, const OnText& on_text = {});

  // Answers the last of `messages`, by the model's own chat template. Errors: also a model without a template,
  // roles that the template refuses.
  Result<Answer> chat(const std::vector<ChatMessage>& messages, const GenerateOptions& options = {},
                      const OnText& on_text = {});

  // A text whose keys and values are kept from answer to answer. Takes a part of the KV cache when it is used:
  // EngineOptions::sequences is how many of full length fit.
  Sequence new_sequence();

  // A dialogue. `system`: the system prompt; absent: the template's own. Error: a model without a template.
  Result<Chat> new_chat(std::optional<std::string> system = {});

 private:
  friend class Chat;
  friend class Sequence;
  struct Impl;
  explicit Engine(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// A text of an engine. Its part of the KV cache is given back when the handle goes. Thread rule: that of Engine.
class Sequence {
 public:
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;
  ~Sequence();

  // Continues `prompt`. What the sequence holds already and `prompt` begins with is not run again. Errors: those of
  // Engine::complete.
  Result<Answer> complete(std::span<const TokenId> prompt, const GenerateOptions& options = {},
                          const OnText& on_text = {});
  int length() const;  // tokens in the KV cache

 private:
  friend class Engine;
  struct Impl;
  explicit Sequence(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A dialogue on an engine: messages, and what of them is in the KV cache already. Thread rule: that of Engine.
class Chat {
 public:
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;
  ~Chat();

  // Adds the user's message, generates the answer and adds it too. After an error or a cancelled prompt (no text) the
  // user's message is dropped again; a cancelled answer is kept as far as it came. Errors: those of Engine::chat.
  Result<Answer> ask(std::string text, const GenerateOptions& options = {}, const OnText& on_text = {});
  void reset(std::optional<std::string> system = {});  // forgets all messages
  bool undo();                                         // drops the last question and its answer; false: there is none
  const std::vector<ChatMessage>& messages() const;

 private:
  friend class Engine;
  struct Impl;
  explicit Chat(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
