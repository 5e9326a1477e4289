// Text <-> token ids, from a GGUF's own metadata (tokenizer.ggml.*).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "text/chat_prompt.h"
#include "text/stream.h"
#include "text/vocab.h"

namespace s3d {

// Thread rule: const after load(); any number of readers.
class Tokenizer {
 public:
  // Reads tokenizer.ggml.model ("gpt2": byte-level BPE with the pre-tokenizers of PreTokenizer::known_names();
  // "llama": SentencePiece-style with byte fallback), vocabulary, merges, scores, types, special ids.
  // Errors: missing or inconsistent metadata, unknown model or pre-tokenizer, by name.
  static Result<Tokenizer> load(const GgufFile& file);

  // The same from metadata that were read already.
  static Result<Tokenizer> create(TokenizerMetadata metadata);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of `text`, which may be any bytes: byte-level BPE replaces each byte that belongs to no UTF-8 character by
  // U+FFFD (one for each byte), SentencePiece-style gives such bytes as byte tokens. `add_bos`: the text is a whole
  // prompt, so put the BOS token first if the model wants it (and the EOS token last, if the file asks for that).
  // `parse_special`: control tokens written in the text become their ids; user-defined tokens always do.
  // Time: O(n log n) in the text's length.
  std::vector<TokenId> encode(std::string_view text, bool add_bos, bool parse_special) const;

  // Ids of a chat's prompt. Special tokens count where the template wrote them (SpecialSplitter::split_prompt). BOS
  // stands first where the model wants it, and once only, whether or not the template wrote it; EOS is never added: an
  // answer is to follow.
  std::vector<TokenId> encode_chat(const ChatPrompt& prompt) const;

  // The bytes of one token; a control token gives "" unless `show_special`. May be part of a UTF-8 character.
  // An id that is not in the vocabulary gives "".
  std::string piece(TokenId id, bool show_special = false) const;

  // Bytes of all ids, joined (SentencePiece: with the leading space of the first word removed where the model adds it).
  std::string decode(const std::vector<TokenId>& ids, bool show_special = false) const;

  int vocab_size() const;
  TokenId bos() const;            // -1 = none
  TokenId eos() const;            // -1 = none
  bool is_end(TokenId id) const;  // eos, eot, eom and well-known texts of such tokens: generation ends here
  bool is_control(TokenId id) const;
  const std::string& text(TokenId id) const;   // as in the vocabulary; empty: no such token
  TokenId find(std::string_view piece) const;  // id of a token by its exact text in the vocabulary, -1 = none
  const std::string& chat_template() const;    // tokenizer.chat_template, may be empty

  // What is odd about the file's tokenizer and was put right, one sentence each, for people; usually empty.
  const std::vector<std::string>& warnings() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
