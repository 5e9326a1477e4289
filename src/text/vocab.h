// The vocabulary of a tokenizer: what a GGUF's metadata says, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "s3d/types.h"

namespace s3d {

// Values of tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// The metadata of a tokenizer as read, not yet checked. Optional fields are empty where the file has no such key.
struct TokenizerMetadata {
  std::string model;                // tokenizer.ggml.model
  std::string model_name;           // general.name: all that tells some tokenizers' habits
  std::string pre;                  // tokenizer.ggml.pre; empty = absent
  std::vector<std::string> tokens;  // the text of each id
  std::vector<int64_t> types;       // TokenType of each id; empty = all normal
  std::vector<double> scores;       // of each id, SentencePiece only
  std::vector<std::string> merges;  // "left right", the best first, byte-level BPE only
  std::optional<int64_t> bos, eos, unknown, eot, eom;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string chat_template;

  // Reads the tokenizer.* keys. Errors: a key with a wrong type, by name; no tokenizer.ggml.model.
  static Result<TokenizerMetadata> read(const GgufFile& file);
};

// Tokens and their texts, types and roles. Thread rule: const after create().
class Vocab {
 public:
  // Takes the tokens out of `metadata`. Errors: no tokens, lists of different lengths, unknown types, two tokens of
  // one text, ids out of range, a BOS or EOS token that is to be added and is not there.
  static Result<Vocab> create(TokenizerMetadata& metadata);

  int size() const { return static_cast<int>(tokens_.size()); }
  bool contains(TokenId id) const { return id >= 0 && id < size(); }
  const std::string& text(TokenId id) const { return tokens_[static_cast<size_t>(id)]; }
  TokenType type(TokenId id) const { return types_.empty() ? TokenType::kNormal : types_[static_cast<size_t>(id)]; }
  TokenId find(std::string_view text) const;   // -1 = none
  size_t longest() const { return longest_; }  // bytes of the longest token's text

  TokenId bos() const { return bos_; }  // -1 = none, as below
  TokenId eos() const { return eos_; }
  TokenId unknown() const { return unknown_; }
  bool add_bos() const { return add_bos_; }
  bool add_eos() const { return add_eos_; }
  bool is_end(TokenId id) const;
  // White space that follows this special token in a text belongs to it (Phi-3).
  bool strips_right(TokenId id) const { return !strips_right_.empty() && strips_right_[static_cast<size_t>(id)]; }
  bool is_control(TokenId id) const { return type(id) == TokenType::kControl || type(id) == TokenType::kUnknown; }
  // What is odd about the vocabulary and was put right, for people; usually empty.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  Vocab() = default;
  Status take_tokens(TokenizerMetadata& metadata);
  Status take_types(const std::vector<int64_t>& types);
  void take_marks();
  Status take_special_ids(const TokenizerMetadata& metadata);
  void take_stripping(const TokenizerMetadata& metadata);
  bool is_mark(std::string_view text) const;  // a control token has this text
  bool only_ends_a_part(std::string_view text) const;
  size_t slot_of(std::string_view text) const;

  std::vector<std::string> tokens_;
  std::vector<TokenType> types_;
  std::vector<bool> strips_right_;  // of each id; empty = none does
  std::vector<TokenId> slots_;      // hash table with open addressing, size a power of two: the id, or -1 = free
  std::vector<TokenId> ends_;       // sorted
  std::vector<std::string> warnings_;
  size_t longest_ = 0;
  TokenId bos_ = -1;
  TokenId eos_ = -1;
  TokenId unknown_ = -1;
  bool add_bos_ = false;
  bool add_eos_ = false;
};

}  // namespace s3d
