// Text <-> token ids, from a GGUF's own metadata (tokenizer.ggml.*).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"

namespace s3d {

using TokenId = int32_t;

// Thread rule: const after load(); any number of readers.
class Tokenizer {
 public:
  // Reads tokenizer.ggml.model ("gpt2": byte-level BPE with the pre-tokenizers smollm, qwen2, llama-bpe, gpt-2,
  // default; "llama": SentencePiece-style with byte fallback), vocabulary, merges, scores, types, special ids.
  // Errors: missing or inconsistent metadata, unknown model or pre-tokenizer, by name.
  static Result<Tokenizer> load(const GgufFile& file);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of `text`, which may be any bytes. `add_bos`: put the BOS token first if the model wants it.
  // `parse_special`: control and user-defined tokens written in the text become their ids.
  std::vector<TokenId> encode(std::string_view text, bool add_bos, bool parse_special) const;

  // The bytes of one token; a control token gives "" unless `show_special`. May be part of a UTF-8 character.
  std::string piece(TokenId id, bool show_special = false) const;

  // Bytes of all ids, joined (SentencePiece: with the leading space of the first word removed where the model adds it).
  std::string decode(const std::vector<TokenId>& ids, bool show_special = false) const;

  int vocab_size() const;
  TokenId bos() const;            // -1 = none
  TokenId eos() const;            // -1 = none
  bool is_end(TokenId id) const;  // eos, eot, eom: generation ends here
  bool is_control(TokenId id) const;
  TokenId find(std::string_view piece) const;  // id of a token by its exact text in the vocabulary, -1 = none
  const std::string& chat_template() const;    // tokenizer.chat_template, may be empty

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Joins pieces of tokens to whole UTF-8 characters: push() returns the bytes that are complete, finish() the rest, with
// U+FFFD for what never became a character.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish();

 private:
  std::string pending_;
};

// Finds the earliest of several stop strings in a stream, across the borders of pieces.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text; returns what can be shown (never a possible beginning of a stop string). After a stop was found,
  // stopped() is true and nothing more is shown.
  std::string push(std::string_view text);
  std::string finish();  // what was held back, if no stop came
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace s3d
