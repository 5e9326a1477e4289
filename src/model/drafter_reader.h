// What the readers of all drafters' files share, those of adapters too. Internal to this folder.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "s3d/types.h"

namespace s3d {

// One file, with its path in every message. It must outlive the reader. Thread rule: const.
class DrafterReader {
 public:
  explicit DrafterReader(const GgufFile& file) : file_(file) {}

  template <typename... Args>
  Error error(fmt::format_string<Args...> text, Args&&... args) const {
    return Error{file_.path() + ": " + fmt::format(text, std::forward<Args>(args)...)};
  }

  // It is a drafter's file, of the version that is read here. Error: another architecture, another version or none.
  Status check_format() const;
  // "s3d.base.fingerprint". Error: it is missing, or no 16 hexadecimal digits.
  Result<uint64_t> base_fingerprint() const;
  // The file's base is the one that is there. `thing`: "adapter" or "drafter"; `name`: the file's base, may be empty.
  Status check_base(std::string_view thing, std::string_view name, uint64_t wanted, uint64_t found) const;
  // "draft_vocab.ids"; nothing where there is none. Error: another type or shape, a token outside the base's
  // vocabulary, one that is there twice.
  Result<std::vector<TokenId>> draft_ids(int vocab_size) const;
  // Error: a value that is not finite.
  Status check_finite(const Tensor& tensor) const;

 protected:
  const GgufFile& file_;
};

}  // namespace s3d
