#include "text/bpe.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "text/merge_list.h"
#include "text/utf8.h"

namespace s3d {
namespace {

// GPT-2's visible alphabet: a byte that is a printable character of Latin-1 stands for itself; the other 68, in order,
// for the characters from U+0100 on.
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    table[static_cast<size_t>(byte)] = visible ? static_cast<char32_t>(byte) : next++;
  }
  return table;
}

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

std::string merge_name(size_t index, const std::string& merge) {
  return "tokenizer.ggml.merges: merge " + std::to_string(index) + " '" + merge.substr(0, 80) + "'";
}

}  // namespace

Result<BpeModel> BpeModel::create(const Vocab& vocab, const std::vector<std::string>& merges, bool whole_words) {
  BpeModel model;
  model.whole_words_ = whole_words;
  const auto characters = byte_characters();
  for (size_t byte = 0; byte < characters.size(); ++byte) {
    model.bytes_[byte] = vocab.find(utf8_encode(characters[byte]));
  }
  if (merges.empty()) return Error{"tokenizer.ggml.merges: expected the list of merges, found none"};
  model.merges_.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string& merge = merges[i];
    const size_t blank = merge.find(' ', 1);
    if (blank == std::string::npos) return Error{merge_name(i, merge) + " has no blank between its two parts"};
    const std::string left = merge.substr(0, blank);
    const std::string right = merge.substr(blank + 1);
    const TokenId ids[] = {vocab.find(left), vocab.find(right), vocab.find(left + right)};
    if (*std::min_element(std::begin(ids), std::end(ids)) < 0) {
      return Error{merge_name(i, merge) + " names a token that is not in the vocabulary"};
    }
    model.merges_.emplace(pair_key(ids[0], ids[1]), Merge{static_cast<int32_t>(i), ids[2]});
  }
  return model;
}

const BpeModel::Merge* BpeModel::find(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) return nullptr;
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

// A pair that may be joined. It is out of date once one of its parts was joined with another: then the two ids at
// `left` are no longer those that it was made of.
struct BpeModel::Candidate {
  int32_t rank;
  TokenId left_id;
  TokenId right_id;
  TokenId whole;
  int64_t left;

  // std::priority_queue puts the greatest first: the best rank, then the leftmost.
  bool operator<(const Candidate& other) const { return std::pair(rank, left) > std::pair(other.rank, other.left); }
};

// A word while it is being joined.
class BpeModel::Word {
 public:
  Word(const BpeModel& model, std::string_view word) : model_(model), list_(word.size()) {
    ids_.reserve(word.size());
    for (const char byte : word) ids_.push_back(model.bytes_[static_cast<uint8_t>(byte)]);
    for (int64_t i = 0; i + 1 < static_cast<int64_t>(ids_.size()); ++i) offer(i);
  }

  void join_all() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const int64_t right = list_.next(best.left);
      if (id(best.left) != best.left_id || right == MergeList::kEnd || id(right) != best.right_id) continue;
      id(best.left) = best.whole;
      id(right) = kGone;
      list_.join_with_next(best.left);
      offer(list_.prev(best.left));
      offer(best.left);
    }
  }

  void append_to(std::vector<TokenId>& out) const {
    std::copy_if(ids_.begin(), ids_.end(), std::back_inserter(out), [](TokenId id) { return id >= 0; });
  }

 private:
  static constexpr TokenId kGone = -2;  // joined into the part before it

  TokenId& id(int64_t i) { return ids_[static_cast<size_t>(i)]; }

  // Queues the pair that begins at part `left`, if there is a merge for it.
  void offer(int64_t left) {
    if (left == MergeList::kEnd) return;
    const int64_t right = list_.next(left);
    if (right == MergeList::kEnd) return;
    const Merge* merge = model_.find(id(left), id(right));
    if (merge != nullptr) queue_.push({merge->rank, id(left), id(right), merge->whole, left});
  }

  const BpeModel& model_;
  MergeList list_;
  std::vector<TokenId> ids_;  // of each part; parts joined away are kGone
  std::priority_queue<Candidate> queue_;
};

void BpeModel::encode(const Vocab& vocab, std::string_view word, std::vector<TokenId>& out) const {
  if (whole_words_ && word.size() <= vocab.longest()) {
    static const std::array<char32_t, 256> kCharacters = byte_characters();
    std::string text;
    for (const char byte : word) text += utf8_encode(kCharacters[static_cast<uint8_t>(byte)]);
    const TokenId id = vocab.find(text);
    if (id >= 0) {
      out.push_back(id);
      return;
    }
  }
  Word parts(*this, word);
  parts.join_all();
  parts.append_to(out);
}

std::string BpeModel::decode(std::string_view text) {
  static const std::unordered_map<std::string, char> kBytes = [] {
    std::unordered_map<std::string, char> table;
    const auto characters = byte_characters();
    for (size_t byte = 0; byte < characters.size(); ++byte) {
      table.emplace(utf8_encode(characters[byte]), static_cast<char>(byte));
    }
    return table;
  }();
  std::string out;
  while (!text.empty()) {
    const std::string character(text.substr(0, utf8_prefix(text).length));
    const auto it = kBytes.find(character);
    if (it != kBytes.end()) {
      out += it->second;
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace s3d
