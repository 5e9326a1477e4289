#include "base/text_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace s3d {

std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  return text;
}

std::string plain_text(std::string_view text) {
  text = without_byte_order_mark(text);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool line_end = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (!line_end) out += text[i];
  }
  return out;
}

Result<std::string> read_text_file(const std::string& path) {
  const bool standard_input = path == "-";
  const auto close = [standard_input](std::FILE* f) { return standard_input ? 0 : std::fclose(f); };
  std::unique_ptr<std::FILE, decltype(close)> file(standard_input ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) return Error{fmt::format("cannot open '{}': {}", path, std::strerror(errno))};
  std::string text;
  char buffer[1 << 16];
  size_t n = 0;
  while ((n = std::fread(buffer, 1, sizeof buffer, file.get())) > 0) text.append(buffer, n);
  if (std::ferror(file.get()) != 0) return Error{fmt::format("cannot read '{}': {}", path, std::strerror(errno))};
  return plain_text(text);
}

}  // namespace s3d
