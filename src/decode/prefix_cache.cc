#include "decode/prefix_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

constexpr int kSlotsOfPage = KvCache::kPageTokens;
constexpr size_t kLeastTokens = 16;  // fewer are run again sooner than looked up

size_t common_length(std::span<const TokenId> a, std::span<const TokenId> b) {
  const size_t most = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(most), b.begin()).first -
                             a.begin());
}

}  // namespace

struct PrefixCache::Node {
  Node* parent = nullptr;                             // null: a root, which holds no tokens
  std::vector<TokenId> edge;                          // its tokens after the parent's
  size_t length = 0;                                  // tokens from the root to its end
  KvSequence sequence;                                // of that length
  uint64_t used = 0;                                  // when it was found or inserted last; never before its children
  std::map<TokenId, std::unique_ptr<Node>> children;  // by the first token of their edge

  // Pages that it adds to its parent's.
  size_t pages() const { return (length + kSlotsOfPage - 1) / kSlotsOfPage - (length - edge.size()) / kSlotsOfPage; }
};

PrefixCache::PrefixCache(KvCache& kv, size_t bytes)
    : kv_(kv),
      most_pages_(bytes / (kv.bytes_per_token() * kSlotsOfPage)),
      page_bytes_(kv.bytes_per_token() * kSlotsOfPage) {}

PrefixCache::~PrefixCache() = default;

std::optional<KvSequence> PrefixCache::find(const std::string& key, RopeSet set, std::span<const TokenId> tokens,
                                            int most) {
  const auto root = roots_.find({key, set});
  if (root == roots_.end()) return std::nullopt;
  tokens = tokens.first(std::min(tokens.size(), usize(std::max(0, most))));
  ++clock_;
  Node* node = root->second.get();
  size_t matched = 0;
  while (matched < tokens.size()) {
    const auto next = node->children.find(tokens[matched]);
    if (next == node->children.end()) break;
    node = next->second.get();
    node->used = clock_;
    const size_t common = common_length(node->edge, tokens.subspan(matched));
    matched += common;
    if (common < node->edge.size()) break;
  }
  if (matched == 0) return std::nullopt;
  KvSequence found = kv_.copy_sequence(node->sequence);
  kv_.truncate(found, static_cast<int>(matched));
  return found;
}

PrefixCache::Node* PrefixCache::add_child(Node& parent, std::span<const TokenId> edge, KvSequence sequence) {
  auto child = std::make_unique<Node>();
  child->parent = &parent;
  child->edge.assign(edge.begin(), edge.end());
  child->length = parent.length + edge.size();
  child->sequence = std::move(sequence);
  child->used = clock_;
  S3D_CHECK(kv_.length(child->sequence) == static_cast<int>(child->length), "a node holds the tokens on its way");
  tokens_ += isize(child->edge);
  pages_ += child->pages();
  return (parent.children[edge.front()] = std::move(child)).get();
}

// Cuts a child's edge after `length` tokens; returns the node that now ends there.
PrefixCache::Node* PrefixCache::split(Node& child, size_t length) {
  Node& parent = *child.parent;
  std::unique_ptr<Node> lower = std::move(parent.children[child.edge.front()]);
  tokens_ -= isize(lower->edge);
  pages_ -= lower->pages();
  KvSequence beginning = kv_.copy_sequence(lower->sequence);
  kv_.truncate(beginning, static_cast<int>(parent.length + length));
  Node* middle = add_child(parent, std::span(lower->edge).first(length), std::move(beginning));
  lower->edge.erase(lower->edge.begin(), lower->edge.begin() + static_cast<std::ptrdiff_t>(length));
  lower->parent = middle;
  tokens_ += isize(lower->edge);
  pages_ += lower->pages();
  const TokenId first = lower->edge.front();
  middle->children[first] = std::move(lower);
  return middle;
}

void PrefixCache::insert(const std::string& key, SeqId seq, std::span<const TokenId> tokens) {
  if (tokens.size() < kLeastTokens || tokens.size() > most_pages_ * kSlotsOfPage) return;
  S3D_CHECK(kv_.length(seq) == isize(tokens), "a sequence that holds these tokens and no others");
  ++clock_;
  std::unique_ptr<Node>& root = roots_[{key, kv_.rope_set(seq)}];
  if (root == nullptr) root = std::make_unique<Node>();
  Node* node = root.get();
  while (node->length < tokens.size()) {
    const std::span<const TokenId> rest = tokens.subspan(node->length);
    const auto next = node->children.find(rest.front());
    if (next == node->children.end()) {
      node = add_child(*node, rest, kv_.copy_sequence(seq));
      break;
    }
    Node& child = *next->second;
    child.used = clock_;
    const size_t common = common_length(child.edge, rest);
    node = common < child.edge.size() ? split(child, common) : &child;
  }
  while (pages_ > most_pages_ && evict()) {
  }
}

void PrefixCache::oldest_leaf(Node& node, Node*& oldest) {  // NOLINT(misc-no-recursion): as deep as texts branch
  if (node.children.empty() && node.parent != nullptr) {
    if (oldest == nullptr || node.used < oldest->used) oldest = &node;
    return;
  }
  for (const auto& [token, child] : node.children) oldest_leaf(*child, oldest);
}

bool PrefixCache::evict() {
  Node* oldest = nullptr;
  for (const auto& [key, root] : roots_) oldest_leaf(*root, oldest);
  if (oldest == nullptr) return false;
  tokens_ -= isize(oldest->edge);
  pages_ -= oldest->pages();
  oldest->parent->children.erase(oldest->edge.front());
  std::erase_if(roots_, [](const auto& root) { return root.second->children.empty(); });
  return true;
}

}  // namespace s3d
