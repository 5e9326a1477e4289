#include "cli/api_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/index.h"
#include "base/text_file.h"

namespace s3d::cli {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (const std::string_view part = trimmed(text.substr(0, end)); !part.empty()) parts.push_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool same(std::string_view key, std::string_view text) {
  unsigned different = key.size() == text.size() ? 0 : 1;
  for (size_t i = 0; i < key.size(); ++i) {
    const char other = text.empty() ? '\0' : text[i % text.size()];
    different |= static_cast<unsigned char>(key[i]) ^ static_cast<unsigned char>(other);
  }
  return different == 0;
}

bool can_be_sent(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Result<ApiKeys> ApiKeys::read(const std::vector<std::string>& lists, const std::string& file) {
  ApiKeys keys;
  const auto add = [&](std::string_view key, const std::string& where) -> Status {
    if (!can_be_sent(key)) return Error{where + ": a key may hold visible ASCII characters only"};
    keys.keys_.emplace_back(key);
    return Ok();
  };
  for (const std::string& list : lists) {
    for (const std::string_view key : parts_of(list, ',')) S3D_TRY(add(key, "--api-key"));
  }
  if (!lists.empty() && keys.empty()) return Error{"--api-key: expected a key, got an empty text"};
  if (file.empty()) return keys;
  S3D_ASSIGN(const std::string text, read_text_file(file));
  const size_t before = keys.keys_.size();
  for (const std::string_view line : parts_of(text, '\n')) {
    if (!line.starts_with('#')) S3D_TRY(add(line, "--api-key-file " + file));
  }
  if (keys.keys_.size() == before) return Error{fmt::format("--api-key-file {}: no key in it, one a line", file)};
  return keys;
}

std::optional<int> ApiKeys::find(std::string_view text) const {
  std::optional<int> found;
  for (int i = 0; i < isize(keys_); ++i) {
    if (same(keys_[usize(i)], text)) found = i;  // goes on: the others take their time too
  }
  return found;
}

std::string_view sent_key(const http::Headers& headers) {
  if (const std::string* sent = headers.find("Authorization")) {
    constexpr std::string_view kScheme = "Bearer ";
    const std::string_view text = *sent;
    if (http::equal_ignoring_case(text.substr(0, kScheme.size()), kScheme)) return trimmed(text.substr(kScheme.size()));
  }
  for (const char* name : {"X-Api-Key", "api-key"}) {
    if (const std::string* sent = headers.find(name)) return *sent;
  }
  return {};
}

}  // namespace s3d::cli
