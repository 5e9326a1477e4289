// The lines of a text file, which may be compressed with zstd.
#pragma once

#include <fstream>
#include <memory>
#include <string>

#include "base/result.h"

struct ZSTD_DCtx_s;

namespace s3d::train {

// Reads a file from its first line to its last; move-only, one thread at a time. A compressed file is told by its first
// bytes, whatever its name is, and decompressed on the way: it is never in memory as a whole.
class TextLines {
 public:
  // Error: the file cannot be read.
  static Result<TextLines> open(const std::string& path);

  // Puts the next line into `line`, without its end, or returns false at the end of the file. Errors: a compressed file
  // that is damaged or cut off; a line of more than kMaxLine bytes.
  Result<bool> next(std::string& line);

  static constexpr size_t kMaxLine = size_t{1} << 26;  // far above any text, far below the memory

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  explicit TextLines(std::string path) : path_(std::move(path)) {}
  Status read_more();
  Status decompress();
  bool at_end() const { return in_.eof() && used_ == input_.size() && !full_; }

  std::string path_;
  std::ifstream in_;
  std::unique_ptr<ZSTD_DCtx_s, Free> zstd_;  // null: the file is plain text
  std::string input_;                        // as read from the file; its first `used_` bytes are done with
  size_t used_ = 0;
  bool within_frame_ = false;  // of zstd
  bool full_ = false;          // zstd has more text of what it was given
  std::string text_;           // decompressed; its first `given_` bytes are done with
  size_t given_ = 0;
};

// `text` as a file of zstd, as small as it gets, with a checksum.
std::string compressed(const std::string& text);

}  // namespace s3d::train
