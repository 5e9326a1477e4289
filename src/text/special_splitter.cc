#include "text/special_splitter.h"

#include <algorithm>

namespace s3d {
namespace {

uint64_t edge_key(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

}  // namespace

// Replaces each plain fragment that holds the special by what lies before, between and after its occurrences.
void SpecialSplitter::split_by(const Special& special, const char* begin, const Accepts& accepts,
                               std::vector<Fragment>& fragments) {
  std::vector<Fragment> finer;
  finer.reserve(fragments.size());
  for (const Fragment& fragment : fragments) {
    if (fragment.token >= 0) {
      finer.push_back(fragment);
      continue;
    }
    std::string_view rest = fragment.text;
    size_t from = 0;
    for (size_t at = rest.find(special.text); at != std::string_view::npos; at = rest.find(special.text, from)) {
      if (!accepts(static_cast<size_t>(rest.data() + at - begin))) {
        from = at + 1;
        continue;
      }
      from = 0;
      if (at > 0) finer.push_back({-1, rest.substr(0, at)});
      finer.push_back({special.id, rest.substr(at, special.text.size())});
      rest.remove_prefix(at + special.text.size());
      if (special.strips_right) rest.remove_prefix(std::min(rest.find_first_not_of(kWhiteSpace), rest.size()));
    }
    if (!rest.empty()) finer.push_back({-1, rest});
  }
  fragments.swap(finer);
}

SpecialSplitter::SpecialSplitter(const Vocab& vocab) {
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const bool control = vocab.is_control(id);
    if (!control && vocab.type(id) != TokenType::kUserDefined) continue;
    if (!vocab.text(id).empty()) specials_.push_back({vocab.text(id), id, control, vocab.strips_right(id)});
  }
  std::stable_sort(specials_.begin(), specials_.end(),
                   [](const Special& a, const Special& b) { return a.text.size() > b.text.size(); });
  at_node_.push_back(-1);
  for (size_t i = 0; i < specials_.size(); ++i) {
    uint32_t node = 0;
    for (const char byte : specials_[i].text) {
      const auto [it, is_new] = edges_.emplace(edge_key(node, byte), static_cast<uint32_t>(at_node_.size()));
      if (is_new) at_node_.push_back(-1);
      node = it->second;
    }
    at_node_[node] = static_cast<int64_t>(i);
    begins_[static_cast<uint8_t>(specials_[i].text[0])] = true;
  }
}

// Indexes of the specials that occur in the text, in ascending order.
std::vector<size_t> SpecialSplitter::present(std::string_view text, bool parse_special) const {
  std::vector<bool> seen(specials_.size());
  for (size_t start = 0; start < text.size(); ++start) {
    if (!begins_[static_cast<uint8_t>(text[start])]) continue;
    uint32_t node = 0;
    for (size_t i = start; i < text.size(); ++i) {
      const auto it = edges_.find(edge_key(node, text[i]));
      if (it == edges_.end()) break;
      node = it->second;
      if (at_node_[node] >= 0) seen[static_cast<size_t>(at_node_[node])] = true;
    }
  }
  std::vector<size_t> found;
  for (size_t i = 0; i < seen.size(); ++i) {
    if (seen[i] && (parse_special || !specials_[i].control)) found.push_back(i);
  }
  return found;
}

std::vector<Fragment> SpecialSplitter::split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  if (text.empty()) return fragments;
  fragments.push_back({-1, text});
  const auto always = [](size_t) { return true; };
  for (const size_t i : present(text, parse_special)) split_by(specials_[i], text.data(), always, fragments);
  return fragments;
}

std::vector<Fragment> SpecialSplitter::split_prompt(std::string_view text, std::span<const TextSpan> marks) const {
  std::vector<Fragment> fragments;
  if (text.empty()) return fragments;
  fragments.push_back({-1, text});
  for (const size_t i : present(text, /*parse_special=*/true)) {
    const Special& special = specials_[i];
    const auto in_mark = [&](size_t at) {
      const auto after = std::upper_bound(marks.begin(), marks.end(), at,
                                          [](size_t offset, const TextSpan& mark) { return offset < mark.begin; });
      return after != marks.begin() && at + special.text.size() <= std::prev(after)->end;
    };
    bool written = false;  // by the template, somewhere
    for (size_t at = text.find(special.text); at != std::string_view::npos && !written;
         at = text.find(special.text, at + 1)) {
      written = in_mark(at);
    }
    const bool everywhere = !special.control && !written;
    split_by(
        special, text.data(), [&](size_t at) { return everywhere || in_mark(at); }, fragments);
  }
  return fragments;
}

}  // namespace s3d
