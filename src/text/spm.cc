#include "text/spm.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <utility>

#include "text/merge_list.h"

namespace s3d {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581, SentencePiece's visible blank

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
  }
  return out.append(text.substr(done));
}

// Bytes that the first byte of a character claims. Broken text is cut by this claim alone, as the reference does, so
// that its bytes come out as byte tokens, one for each.
size_t claimed_length(char first) {
  const auto byte = static_cast<uint8_t>(first);
  if (byte < 0xC0) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

std::string byte_text(size_t byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

int SpmModel::parse_byte(std::string_view text) {
  if (text.size() != 6) return -1;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (text == byte_text(byte)) return static_cast<int>(byte);
  }
  return -1;
}

Result<SpmModel> SpmModel::create(const Vocab& vocab, const std::vector<double>& scores) {
  SpmModel model;
  if (!scores.empty() && scores.size() != static_cast<size_t>(vocab.size())) {
    return Error{"tokenizer.ggml.scores: expected one entry for each of the " + std::to_string(vocab.size()) +
                 " tokens, found " + std::to_string(scores.size())};
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      return Error{"tokenizer.ggml.scores: expected a number for token " + std::to_string(i) + ", found NaN"};
    }
    model.scores_.push_back(static_cast<float>(scores[i]));
  }
  bool complete = true;
  for (size_t byte = 0; byte < model.bytes_.size(); ++byte) {
    model.bytes_[byte] = vocab.find(byte_text(byte));
    complete &= model.bytes_[byte] >= 0;
  }
  if (!complete && vocab.unknown() < 0) {
    return Error{"tokenizer.ggml.tokens: expected a token for each byte (<0x00> to <0xFF>) or an unknown token"};
  }
  for (TokenId id = 0; id < vocab.size(); ++id) {
    if (vocab.type(id) == TokenType::kByte && parse_byte(vocab.text(id)) < 0) {
      return Error{"tokenizer.ggml.tokens: byte token " + std::to_string(id) + " should read like <0x0A>, found '" +
                   vocab.text(id).substr(0, 40) + "'"};
    }
  }
  return model;
}

// A pair that may be joined to a token. It is out of date once one of its parts was joined with another: then the two
// parts at `left` are gone or no longer `bytes` long.
struct SpmModel::Candidate {
  float score;
  int64_t left;
  size_t bytes;

  // std::priority_queue puts the greatest first: the best score, then the leftmost.
  bool operator<(const Candidate& other) const {
    return score < other.score || (score == other.score && left > other.left);
  }
};

// A text while it is being joined.
class SpmModel::Sentence {
 public:
  Sentence(const SpmModel& model, const Vocab& vocab, std::string_view text)
      : model_(model), vocab_(vocab), parts_(characters(text)), list_(parts_.size()) {
    for (int64_t i = 0; i + 1 < static_cast<int64_t>(parts_.size()); ++i) offer(i);
  }

  void join_all() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const int64_t right = list_.next(best.left);
      if (part(best.left).empty() || right == MergeList::kEnd) continue;
      if (part(best.left).size() + part(right).size() != best.bytes) continue;
      part(best.left) = joined(best.left, right);
      part(right) = {};
      list_.join_with_next(best.left);
      offer(list_.prev(best.left));
      offer(best.left);
    }
  }

  void append_to(std::vector<TokenId>& out) const {
    for (const std::string_view part : parts_) {
      if (part.empty()) continue;
      const TokenId id = vocab_.find(part);
      if (id >= 0) {
        out.push_back(id);
      } else {
        model_.append_bytes(vocab_, part, out);  // only single characters are no tokens
      }
    }
  }

 private:
  static std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
      const size_t length = std::min(claimed_length(text[0]), text.size());
      parts.push_back(text.substr(0, length));
      text.remove_prefix(length);
    }
    return parts;
  }

  std::string_view& part(int64_t i) { return parts_[static_cast<size_t>(i)]; }
  std::string_view joined(int64_t left, int64_t right) {
    return {part(left).data(), part(left).size() + part(right).size()};  // parts lie side by side in the text
  }

  // Queues the pair that begins at part `left`, if it is a token.
  void offer(int64_t left) {
    if (left == MergeList::kEnd) return;
    const int64_t right = list_.next(left);
    if (right == MergeList::kEnd) return;
    const std::string_view text = joined(left, right);
    if (text.size() > vocab_.longest()) return;
    const TokenId id = vocab_.find(text);
    if (id < 0 || vocab_.is_control(id)) return;  // plain text never becomes a control token
    const float score = model_.scores_.empty() ? 0.0F : model_.scores_[static_cast<size_t>(id)];
    queue_.push({score, left, text.size()});
  }

  const SpmModel& model_;
  const Vocab& vocab_;
  std::vector<std::string_view> parts_;  // parts joined away are empty
  MergeList list_;
  std::priority_queue<Candidate> queue_;
};

void SpmModel::encode(const Vocab& vocab, std::string_view text, std::vector<TokenId>& out) const {
  const std::string visible = replace_all(text, " ", kBlank);
  Sentence sentence(*this, vocab, visible);
  sentence.join_all();
  sentence.append_to(out);
}

void SpmModel::append_bytes(const Vocab& vocab, std::string_view character, std::vector<TokenId>& out) const {
  for (const char each : character) {
    TokenId id = bytes_[static_cast<uint8_t>(each)];
    if (id < 0) id = vocab.find(std::string_view(&each, 1));
    if (id < 0) id = vocab.unknown();
    if (id >= 0) out.push_back(id);
  }
}

std::string SpmModel::decode(std::string_view text, TokenType type) {
  if (type == TokenType::kByte) return {static_cast<char>(parse_byte(text))};
  return replace_all(text, kBlank, " ");
}

}  // namespace s3d
