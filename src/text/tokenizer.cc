#include "text/tokenizer.h"

#include <optional>
#include <utility>

#include "text/bpe.h"
#include "text/nfc.h"
#include "text/pretokenizer.h"
#include "text/pretokenizer_forms.h"
#include "text/special_splitter.h"
#include "text/spm.h"
#include "text/utf8.h"

namespace s3d {
namespace {

// Byte-level BPE after cutting into words.
struct BytePairs {
  PreTokenizer words;
  BpeModel model;
  bool nfc;  // text is composed first
};

Result<BytePairs> create_byte_pairs(const Vocab& vocab, const TokenizerMetadata& metadata) {
  const std::string pre = metadata.pre.empty() ? "default" : metadata.pre;
  S3D_ASSIGN(PreTokenizer words, PreTokenizer::create(pre));
  const PreTokenizerHabits& habits = find_pre_tokenizer_form(pre)->habits;
  S3D_ASSIGN(BpeModel model, BpeModel::create(vocab, metadata.merges, habits.whole_words));
  return BytePairs{std::move(words), std::move(model), habits.nfc};
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(Vocab v) : vocab(std::move(v)), specials(vocab) {}

  void encode_plain(std::string_view text, std::vector<TokenId>& out) const;
  void encode_fragments(const std::vector<Fragment>& fragments, std::vector<TokenId>& ids) const;

  Vocab vocab;
  SpecialSplitter specials;
  std::optional<BytePairs> byte_pairs;     // one of these two
  std::optional<SpmModel> sentence_piece;  //
  bool add_space_prefix = false;
  std::string chat_template;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::load(const GgufFile& file) {
  S3D_ASSIGN(TokenizerMetadata metadata, TokenizerMetadata::read(file));
  auto tokenizer = create(std::move(metadata));
  if (!tokenizer.ok()) return tokenizer.error().within(file.path());
  return tokenizer;
}

Result<Tokenizer> Tokenizer::create(TokenizerMetadata metadata) {
  const bool bpe = metadata.model == "gpt2";
  if (!bpe && metadata.model != "llama") {
    return Error{"tokenizer.ggml.model: unknown tokenizer '" + metadata.model +
                 "'; known: gpt2 (byte-level BPE), llama (SentencePiece-style)"};
  }
  S3D_ASSIGN(Vocab vocab, Vocab::create(metadata));
  auto impl = std::make_unique<Impl>(std::move(vocab));
  if (bpe) {
    S3D_ASSIGN(impl->byte_pairs, create_byte_pairs(impl->vocab, metadata));
  } else {
    S3D_ASSIGN(impl->sentence_piece, SpmModel::create(impl->vocab, metadata.scores));
    impl->add_space_prefix = metadata.add_space_prefix.value_or(true);
  }
  impl->chat_template = std::move(metadata.chat_template);
  return Tokenizer(std::move(impl));
}

void Tokenizer::Impl::encode_plain(std::string_view text, std::vector<TokenId>& out) const {
  if (sentence_piece) {
    sentence_piece->encode(vocab, text, out);
    return;
  }
  const std::string repaired = utf8_valid(text) ? std::string() : utf8_replace_broken(text);
  const std::string_view utf8 = repaired.empty() ? text : repaired;
  const std::optional<std::string> composed = byte_pairs->nfc ? compose(utf8) : std::nullopt;
  const std::string_view whole = composed ? *composed : utf8;
  for (const std::string_view word : byte_pairs->words.split(whole)) byte_pairs->model.encode(vocab, word, out);
}

void Tokenizer::Impl::encode_fragments(const std::vector<Fragment>& fragments, std::vector<TokenId>& ids) const {
  bool after_special = true;  // so is the beginning of the text
  for (const Fragment& fragment : fragments) {
    if (fragment.token >= 0) {
      ids.push_back(fragment.token);
    } else if (add_space_prefix && after_special) {
      encode_plain(std::string(1, ' ').append(fragment.text), ids);
    } else {
      encode_plain(fragment.text, ids);
    }
    after_special = fragment.token >= 0;
  }
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool add_bos, bool parse_special) const {
  std::vector<TokenId> ids;
  if (add_bos && impl_->vocab.add_bos()) ids.push_back(impl_->vocab.bos());
  impl_->encode_fragments(impl_->specials.split(text, parse_special), ids);
  if (add_bos && impl_->vocab.add_eos()) ids.push_back(impl_->vocab.eos());
  return ids;
}

std::vector<TokenId> Tokenizer::encode_chat(const ChatPrompt& prompt) const {
  std::vector<TokenId> ids;
  impl_->encode_fragments(impl_->specials.split_prompt(prompt.text, prompt.marks), ids);
  const TokenId bos = impl_->vocab.bos();
  if (impl_->vocab.add_bos() && (ids.empty() || ids.front() != bos)) ids.insert(ids.begin(), bos);
  return ids;
}

std::string Tokenizer::piece(TokenId id, bool show_special) const {
  const Vocab& vocab = impl_->vocab;
  if (!vocab.contains(id)) return {};
  if (vocab.is_control(id)) return show_special ? vocab.text(id) : std::string();
  const TokenType type = vocab.type(id);
  if (type == TokenType::kUserDefined) return vocab.text(id);
  if (type == TokenType::kUnused) return {};  // padding of the vocabulary, stands for nothing
  return impl_->sentence_piece ? SpmModel::decode(vocab.text(id), type) : BpeModel::decode(vocab.text(id));
}

std::string Tokenizer::decode(const std::vector<TokenId>& ids, bool show_special) const {
  std::string out;
  bool strip_blank = impl_->add_space_prefix;
  for (const TokenId id : ids) {
    const std::string text = piece(id, show_special);
    const bool strip = strip_blank && !is_control(id) && text.starts_with(' ');
    out.append(text, strip ? 1 : 0);
    if (!is_control(id)) strip_blank = false;
  }
  return out;
}

int Tokenizer::vocab_size() const {
  return impl_->vocab.size();
}
TokenId Tokenizer::bos() const {
  return impl_->vocab.bos();
}
TokenId Tokenizer::eos() const {
  return impl_->vocab.eos();
}
bool Tokenizer::is_end(TokenId id) const {
  return impl_->vocab.is_end(id);
}
bool Tokenizer::is_control(TokenId id) const {
  return impl_->vocab.contains(id) && impl_->vocab.is_control(id);
}
const std::string& Tokenizer::text(TokenId id) const {
  static const std::string kNone;
  return impl_->vocab.contains(id) ? impl_->vocab.text(id) : kNone;
}
TokenId Tokenizer::find(std::string_view piece) const {
  return impl_->vocab.find(piece);
}
const std::string& Tokenizer::chat_template() const {
  return impl_->chat_template;
}
const std::vector<std::string>& Tokenizer::warnings() const {
  return impl_->vocab.warnings();
}

}  // namespace s3d
