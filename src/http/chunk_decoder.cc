#include "http/chunk_decoder.h"

#include <algorithm>
#include <charconv>

namespace s3d::http {
namespace {

using Got = LineReader::Got;

ParseFailure bad_chunk(const char* what) {
  return {400, std::string("the chunked body is malformed: ") + what};
}

}  // namespace

std::optional<ParseFailure> ChunkDecoder::begin_chunk(std::string_view line) {
  const size_t digits = std::min(line.find_first_of("; \t"), line.size());
  // from_chars takes no sign and no "0x" for base 16.
  size_t size = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + digits, size, 16);
  if (error == std::errc::result_out_of_range) return ParseFailure{413, "a chunk is larger than any body may be"};
  if (digits == 0 || error != std::errc{} || end != line.data() + digits) {
    return bad_chunk("a chunk's size is not hexadecimal");
  }
  const std::string_view extension = line.substr(digits);
  const size_t mark = extension.find_first_not_of(" \t");
  if (mark != std::string_view::npos && extension[mark] != ';') {
    return bad_chunk("something other than an extension follows a chunk's size");
  }
  extensions_ += extension.size();
  if (extensions_ > kMostExtensions) return bad_chunk("too many chunk extensions");
  if (size > left_) return ParseFailure{413, "the body is larger than this server accepts"};
  left_ -= size;
  chunk_ = size;
  part_ = size == 0 ? Part::kTrailers : Part::kData;
  lines_ = LineReader(size == 0 ? kMostTrailers : kMostSizeLine);
  return std::nullopt;
}

std::optional<ParseFailure> ChunkDecoder::take_size(std::string_view& input) {
  switch (lines_.take(input)) {
    case Got::kPart:
      return std::nullopt;
    case Got::kLine:
      return begin_chunk(lines_.line());
    case Got::kTooLong:
      return bad_chunk("a chunk's size line is too long");
    case Got::kBad:
      break;
  }
  return bad_chunk("a chunk's size line does not end with CR LF");
}

std::optional<ParseFailure> ChunkDecoder::take_data_end(std::string_view& input) {
  const Got got = lines_.take(input);
  if (got == Got::kPart && (lines_.line().empty() || lines_.line() == "\r")) return std::nullopt;
  if (got != Got::kLine || !lines_.line().empty()) return bad_chunk("a chunk is longer than its size says");
  part_ = Part::kSize;
  lines_ = LineReader(kMostSizeLine);
  return std::nullopt;
}

std::optional<ParseFailure> ChunkDecoder::take_trailer(std::string_view& input) {
  switch (lines_.take(input)) {
    case Got::kPart:
      return std::nullopt;
    case Got::kTooLong:
      return ParseFailure{431, "the trailers of the body are too long"};
    case Got::kBad:
      return bad_chunk("a trailer does not end with CR LF");
    case Got::kLine:
      break;
  }
  if (lines_.line().empty()) {
    part_ = Part::kDone;
    return std::nullopt;
  }
  const auto field = parse_field(lines_.line());
  if (!field.ok()) return ParseFailure{400, "trailers: " + field.error().message};
  return std::nullopt;
}

std::optional<ParseFailure> ChunkDecoder::feed(std::string_view& input, std::string& body) {
  std::optional<ParseFailure> failure;
  while (!input.empty() && !done() && !failure) {
    if (part_ == Part::kSize) {
      failure = take_size(input);
    } else if (part_ == Part::kDataEnd) {
      failure = take_data_end(input);
    } else if (part_ == Part::kTrailers) {
      failure = take_trailer(input);
    } else {
      const size_t bytes = std::min(input.size(), chunk_);
      body += input.substr(0, bytes);
      input.remove_prefix(bytes);
      chunk_ -= bytes;
      if (chunk_ == 0) part_ = Part::kDataEnd;
    }
  }
  return failure;
}

}  // namespace s3d::http
