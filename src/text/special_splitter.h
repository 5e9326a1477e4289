// Finds the special tokens that are written out in a text.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/chat_prompt.h"
#include "text/vocab.h"

namespace s3d {

// A piece of a text: a special token, or the plain text between two of them.
struct Fragment {
  TokenId token;          // -1 = plain text
  std::string_view text;  // points into the text that was split
};

// Thread rule: const after construction.
class SpecialSplitter {
 public:
  // `vocab` must outlive the splitter. Its control, unknown and user-defined tokens are the special ones.
  explicit SpecialSplitter(const Vocab& vocab);

  // Longer tokens are looked for first, in all of the text, then the next shorter ones in what is left. User-defined
  // tokens count always, control and unknown tokens only if `parse_special`. No fragment is empty. White space after a
  // token that strips it is left out.
  std::vector<Fragment> split(std::string_view text, bool parse_special) const;

  // The same for a prompt of a chat. A token that lies in one of `marks` (ascending) counts. Elsewhere control and
  // unknown tokens do not, nor user-defined ones that also lie in a mark: what a person typed cannot pass for the
  // template's. Other user-defined tokens are ordinary words of the vocabulary and count everywhere.
  std::vector<Fragment> split_prompt(std::string_view text, std::span<const TextSpan> marks) const;

 private:
  struct Special {
    std::string_view text;
    TokenId id;
    bool control;
    bool strips_right;
  };
  // Whether a special counts where it stands, at a byte of the whole text.
  using Accepts = std::function<bool(size_t at)>;
  static void split_by(const Special& special, const char* begin, const Accepts& accepts,
                       std::vector<Fragment>& fragments);
  std::vector<size_t> present(std::string_view text, bool parse_special) const;

  std::vector<Special> specials_;  // the longest first
  // A tree of their bytes, so that one walk over a text tells which of thousands of specials occur in it at all.
  std::unordered_map<uint64_t, uint32_t> edges_;  // node and byte -> node
  std::vector<int64_t> at_node_;                  // index of the special that ends at a node, -1 = none
  std::array<bool, 256> begins_{};                // some special begins with this byte
};

}  // namespace s3d
