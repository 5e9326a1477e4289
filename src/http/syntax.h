// The grammar of HTTP's lines (RFC 9110 section 5, RFC 9112), strict: what two readers could understand differently is
// refused, since a proxy in front may be the other reader. Pure functions and values on outside bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http/message.h"

namespace s3d::http {

// A name of a field or a method: letters, digits and !#$%&'*+-.^_`|~, not empty.
bool is_token(std::string_view text);

// "Name: value" without its line end. The value loses the blanks around it. Error: no colon, a blank before it, a name
// that is no token, a line that continues the one before (obs-fold), a control character in the value.
Result<Header> parse_field(std::string_view line);

// Decimal digits alone, below 2^63.
std::optional<uint64_t> parse_decimal(std::string_view digits);

// The elements of "a, b ,c" without blanks around them; empty ones are left out.
std::vector<std::string_view> list_elements(std::string_view value);

// Whether a field that is a list, perhaps in several lines, holds `element`, in any case.
bool list_holds(const Headers& headers, std::string_view name, std::string_view element);

// Cuts a stream of bytes into lines that end with CR LF. Incremental: the bytes may come in any parts.
class LineReader {
 public:
  // `most`: bytes of all lines together, line ends included.
  explicit LineReader(size_t most) : left_(most) {}

  enum class Got {
    kPart,     // all of the input was taken, the line goes on
    kLine,     // line() is whole
    kTooLong,  // more than `most` bytes
    kBad       // a zero byte, or a CR or LF alone
  };
  // Takes bytes from the front of `input`.
  Got take(std::string_view& input);

  // Without its CR LF; valid until the next take().
  const std::string& line() const { return line_; }

 private:
  std::string line_;
  size_t left_;
  bool whole_ = false;
};

}  // namespace s3d::http
