// Undoes the transfer coding "chunked" (RFC 9112 section 7.1). Incremental and pure: no sockets.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "http/syntax.h"

namespace s3d::http {

// Why a request cannot be read, and the status that says so.
struct ParseFailure {
  int status = 400;
  std::string message;
};

// One body. Extensions of chunks and trailers are checked, counted and left out.
class ChunkDecoder {
 public:
  // `most`: bytes of the body without its framing; beyond, the failure is a 413.
  explicit ChunkDecoder(size_t most) : left_(most) {}

  // Takes bytes from the front of `input` and appends what they carry to `body`. Stops behind the last chunk and its
  // trailers: done(), or at a failure.
  std::optional<ParseFailure> feed(std::string_view& input, std::string& body);
  bool done() const { return part_ == Part::kDone; }

 private:
  enum class Part { kSize, kData, kDataEnd, kTrailers, kDone };

  std::optional<ParseFailure> take_size(std::string_view& input);
  std::optional<ParseFailure> take_data_end(std::string_view& input);
  std::optional<ParseFailure> take_trailer(std::string_view& input);
  std::optional<ParseFailure> begin_chunk(std::string_view line);

  static constexpr size_t kMostSizeLine = 256;         // digits, extension and line end
  static constexpr size_t kMostExtensions = 16 << 10;  // bytes of all extensions of a body
  static constexpr size_t kMostTrailers = 16 << 10;

  Part part_ = Part::kSize;
  LineReader lines_{kMostSizeLine};
  size_t left_;       // of the body
  size_t chunk_ = 0;  // bytes of this chunk that are still to come
  size_t extensions_ = 0;
};

}  // namespace s3d::http
