// Cuts text into words before byte-level BPE: the regular expressions behind tokenizer.ggml.pre, on PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace s3d {

// Thread rule: const after create(); any number of threads may split at once.
class PreTokenizer {
 public:
  // `name`: one of known_names(). Error: another name; the message lists these.
  static Result<PreTokenizer> create(std::string_view name);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // The words of `text`, in order, nothing lost; they point into `text`, which must be well-formed UTF-8.
  // Time: linear in practice (each expression consumes what it looked at).
  std::vector<std::string_view> split(std::string_view text) const;

  static std::vector<std::string> known_names();

 private:
  struct Impl;
  explicit PreTokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
