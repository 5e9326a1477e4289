#include "text/vocab.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <functional>

#include "text/pretokenizer_forms.h"

namespace s3d {
namespace {

// A Result<optional<T>> of GgufFile -> `out`, left alone where the key is absent.
template <typename T>
Status assign(Result<std::optional<T>> value, T& out) {
  if (!value.ok()) return value.error();
  if (value->has_value()) out = std::move(**value);
  return Ok();
}
template <typename T>
Status assign(Result<std::optional<T>> value, std::optional<T>& out) {
  if (!value.ok()) return value.error();
  out = std::move(*value);
  return Ok();
}

// Texts of tokens that end an answer. Files often name only one end token (or the wrong one), so chat models'
// well-known ones count too, the fill-in-the-middle separators included: code models end a completion with them.
// "</s>" must be a control token: Gemma has it as the closing tag of HTML, Qwen as ordinary text.
constexpr std::array<std::string_view, 33> kEndTexts = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "<|end_of_text|>",
    "<fim-pad>",
    "<end_of_utterance>",
    "<|fim_pad|>",
    "<fim_pad>",
    "<|file_sep|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<reponame>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<REPO>",
    "<PAD>",
    "[PAD]",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
};

// Texts of tokens that are marks between parts of a prompt: nobody writes them as text.
constexpr std::array<std::string_view, 29> kMarkTexts = {
    "<|im_start|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|begin_of_text|>",
    "<start_of_turn>",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<PRE>",
    "\u2581<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<SUF>",
    "\u2581<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<MID>",
    "\u2581<MID>",
    "<|code_middle|>",
    "<|middle|>",
    "<\uFF5Cfim\u2581begin\uFF5C>",
    "<\uFF5Cfim\u2581hole\uFF5C>",
    "<\uFF5Cfim\u2581end\uFF5C>",
};

Error bad_length(std::string_view key, size_t found, size_t tokens) {
  return Error{"tokenizer.ggml." + std::string(key) + ": expected one entry for each of the " + std::to_string(tokens) +
               " tokens, found " + std::to_string(found)};
}

// A token's text as shown in a message.
std::string quoted(std::string_view text) {
  constexpr size_t kLongest = 40;
  std::string out = "'";
  out += text.substr(0, kLongest);
  out += text.size() > kLongest ? "...'" : "'";
  return out;
}

Status take_id(std::string_view key, const std::optional<int64_t>& value, int vocab_size, TokenId& out) {
  if (!value) return Ok();
  // Some converters write -1 (or its unsigned form) for "no such token".
  if (*value == -1 || *value == 0xFFFFFFFF) {
    out = -1;
    return Ok();
  }
  if (*value < 0 || *value >= vocab_size) {
    return Error{"tokenizer.ggml." + std::string(key) + ": expected the id of one of the " +
                 std::to_string(vocab_size) + " tokens, found " + std::to_string(*value)};
  }
  out = static_cast<TokenId>(*value);
  return Ok();
}

bool adds_bos(std::string_view pre) {
  const PreTokenizerForm* form = find_pre_tokenizer_form(pre);
  return form != nullptr && form->habits.adds_bos;
}

}  // namespace

Result<TokenizerMetadata> TokenizerMetadata::read(const GgufFile& file) {
  TokenizerMetadata m;
  S3D_TRY(assign(file.string("tokenizer.ggml.model"), m.model));
  if (m.model.empty()) {
    return Error{file.path() + ": no tokenizer (key tokenizer.ggml.model is absent); use a file that has one"};
  }
  S3D_TRY(assign(file.string("general.name"), m.model_name));
  S3D_TRY(assign(file.string("tokenizer.ggml.pre"), m.pre));
  S3D_TRY(assign(file.strings("tokenizer.ggml.tokens"), m.tokens));
  S3D_TRY(assign(file.integers("tokenizer.ggml.token_type"), m.types));
  S3D_TRY(assign(file.reals("tokenizer.ggml.scores"), m.scores));
  S3D_TRY(assign(file.strings("tokenizer.ggml.merges"), m.merges));
  S3D_TRY(assign(file.integer("tokenizer.ggml.bos_token_id"), m.bos));
  S3D_TRY(assign(file.integer("tokenizer.ggml.eos_token_id"), m.eos));
  S3D_TRY(assign(file.integer("tokenizer.ggml.unknown_token_id"), m.unknown));
  S3D_TRY(assign(file.integer("tokenizer.ggml.eot_token_id"), m.eot));
  S3D_TRY(assign(file.integer("tokenizer.ggml.eom_token_id"), m.eom));
  S3D_TRY(assign(file.boolean("tokenizer.ggml.add_bos_token"), m.add_bos));
  S3D_TRY(assign(file.boolean("tokenizer.ggml.add_eos_token"), m.add_eos));
  S3D_TRY(assign(file.boolean("tokenizer.ggml.add_space_prefix"), m.add_space_prefix));
  S3D_TRY(assign(file.string("tokenizer.chat_template"), m.chat_template));
  return m;
}

Result<Vocab> Vocab::create(TokenizerMetadata& metadata) {
  Vocab vocab;
  S3D_TRY(vocab.take_tokens(metadata));
  S3D_TRY(vocab.take_types(metadata.types));
  vocab.take_marks();
  S3D_TRY(vocab.take_special_ids(metadata));
  vocab.take_stripping(metadata);
  return vocab;
}

Status Vocab::take_tokens(TokenizerMetadata& metadata) {
  // Ids are int32, and a tokenizer of a billion tokens is not one.
  constexpr size_t kMostTokens = size_t{1} << 30;
  if (metadata.tokens.empty()) return Error{"tokenizer.ggml.tokens: expected the list of tokens, found none"};
  if (metadata.tokens.size() > kMostTokens) {
    return Error{"tokenizer.ggml.tokens: " + std::to_string(metadata.tokens.size()) + " tokens are too many"};
  }
  tokens_ = std::move(metadata.tokens);
  slots_.assign(std::bit_ceil(tokens_.size() + tokens_.size() / 2 + 1), -1);  // a map took 50 bytes a token
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& text = tokens_[i];
    if (text.empty()) continue;  // padding: an id that no text leads to
    TokenId& slot = slots_[slot_of(text)];
    if (slot >= 0) {
      return Error{"tokenizer.ggml.tokens: ids " + std::to_string(slot) + " and " + std::to_string(i) +
                   " have the same text " + quoted(text)};
    }
    slot = static_cast<TokenId>(i);
    longest_ = std::max(longest_, text.size());
  }
  return Ok();
}

Status Vocab::take_types(const std::vector<int64_t>& types) {
  if (types.empty()) return Ok();
  if (types.size() != tokens_.size()) return bad_length("token_type", types.size(), tokens_.size());
  types_.reserve(types.size());
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] < 0 || types[i] > static_cast<int64_t>(TokenType::kByte)) {
      return Error{"tokenizer.ggml.token_type: expected 0 to 6 for token " + std::to_string(i) + ", found " +
                   std::to_string(types[i])};
    }
    types_.push_back(types[i] == 0 ? TokenType::kNormal : static_cast<TokenType>(types[i]));  // 0 = undefined
  }
  return Ok();
}

// Some converters type marks as ordinary or user-defined tokens. As in llama.cpp, their texts say what they are.
void Vocab::take_marks() {
  std::string ordinary;
  const auto take = [&](std::string_view text) {
    const TokenId id = text == "</s>" ? -1 : find(text);
    if (id < 0 || is_control(id)) return;
    if (type(id) != TokenType::kUserDefined) ordinary += (ordinary.empty() ? "" : ", ") + quoted(text);
    if (types_.empty()) types_.assign(tokens_.size(), TokenType::kNormal);
    types_[static_cast<size_t>(id)] = TokenType::kControl;
  };
  for (const std::string_view text : kEndTexts) take(text);
  for (const std::string_view text : kMarkTexts) take(text);
  if (ordinary.empty()) return;
  warnings_.push_back("tokenizer.ggml.token_type calls " + ordinary +
                      " ordinary text; taken for control tokens, which is what such texts are elsewhere");
}

// GGUF has no key for a token's "rstrip". As llama.cpp does, Phi-3 is known by the model's name: all its special tokens
// strip but three.
void Vocab::take_stripping(const TokenizerMetadata& metadata) {
  std::string name = metadata.model_name;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos) return;
  strips_right_.resize(tokens_.size());
  for (TokenId id = 0; id < size(); ++id) {
    strips_right_[static_cast<size_t>(id)] = is_control(id) || type(id) == TokenType::kUserDefined;
  }
  for (const char* text : {"<unk>", "<s>", "<|endoftext|>"}) {
    if (const TokenId id = find(text); id >= 0) strips_right_[static_cast<size_t>(id)] = false;
  }
}

Status Vocab::take_special_ids(const TokenizerMetadata& metadata) {
  const bool sentence_piece = metadata.model == "llama";
  if (sentence_piece && size() > 2) {  // what SentencePiece gives out when nothing else is said
    unknown_ = 0;
    bos_ = 1;
    eos_ = 2;
  }
  TokenId eot = -1;
  TokenId eom = -1;
  S3D_TRY(take_id("bos_token_id", metadata.bos, size(), bos_));
  S3D_TRY(take_id("eos_token_id", metadata.eos, size(), eos_));
  S3D_TRY(take_id("unknown_token_id", metadata.unknown, size(), unknown_));
  S3D_TRY(take_id("eot_token_id", metadata.eot, size(), eot));
  S3D_TRY(take_id("eom_token_id", metadata.eom, size(), eom));
  add_bos_ = metadata.add_bos.value_or(sentence_piece || (adds_bos(metadata.pre) && bos_ >= 0));
  add_eos_ = metadata.add_eos.value_or(false);
  if (add_bos_ && bos_ < 0) return Error{"tokenizer.ggml.add_bos_token is true, but there is no bos_token_id"};
  if (add_eos_ && eos_ < 0) return Error{"tokenizer.ggml.add_eos_token is true, but there is no eos_token_id"};
  for (const TokenId id : {eos_, eot, eom}) {
    if (id >= 0) ends_.push_back(id);
  }
  for (const std::string_view text : kEndTexts) {
    if (is_mark(text) && !only_ends_a_part(text)) ends_.push_back(find(text));
  }
  std::sort(ends_.begin(), ends_.end());
  ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
  return Ok();
}

bool Vocab::is_mark(std::string_view text) const {
  const TokenId id = find(text);
  return id >= 0 && type(id) == TokenType::kControl;
}

// Where a vocabulary has other end tokens besides, as in llama.cpp: "<|end|>" ends a message of gpt-oss (its thoughts,
// say), after which the answer goes on until "<|return|>" or "<|call|>"; Solar Open has "<|flush|>" and "<|calls|>". In
// Gemma 4's, "</s>" is HTML.
bool Vocab::only_ends_a_part(std::string_view text) const {
  if (text == "</s>") return is_mark("<|tool_response>");
  if (text != "<|end|>") return false;
  return (is_mark("<|call|>") || is_mark("<|calls|>")) && (is_mark("<|return|>") || is_mark("<|flush|>"));
}

// Where `text` is, or where it would go.
size_t Vocab::slot_of(std::string_view text) const {
  const size_t last = slots_.size() - 1;
  size_t at = last & std::hash<std::string_view>{}(text);
  while (slots_[at] >= 0 && this->text(slots_[at]) != text) at = (at + 1) & last;
  return at;
}

TokenId Vocab::find(std::string_view text) const {
  return slots_[slot_of(text)];
}

bool Vocab::is_end(TokenId id) const {
  return std::binary_search(ends_.begin(), ends_.end(), id);
}

}  // namespace s3d
