#include "page/page.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/splitmix64.h"
#include "page/built_in_files.h"

namespace s3d {
namespace {

// Nothing from elsewhere, no script but the page's own files, no frame around it: model text that looks like HTML has
// no way to run even if the page put it in as such.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

std::string type_of(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  return "application/octet-stream";
}

std::string etag_of(std::string_view bytes) {
  uint64_t hash = bytes.size();
  for (const char byte : bytes) hash = splitmix64(hash ^ static_cast<unsigned char>(byte));
  return fmt::format("\"{:016x}\"", hash);
}

}  // namespace

void Page::add(const std::string& name, std::string bytes) {
  std::string etag = etag_of(bytes);
  files_[name] = {.bytes = std::move(bytes), .etag = std::move(etag), .type = type_of(name)};
}

Page Page::built_in() {
  Page page;
  for (const BuiltInFile& file : built_in_files()) page.add(std::string(file.name), std::string(file.bytes));
  return page;
}

Result<Page> Page::from_folder(const std::string& folder) {
  Page page;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!at->is_regular_file()) continue;
    std::ifstream in(at->path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (!in) return Error{fmt::format("the page's file {} cannot be read", at->path().string())};
    page.add(at->path().filename().string(), std::move(bytes));
  }
  if (error) return Error{fmt::format("the page's folder {}: {}", folder, error.message())};
  if (page.files_.contains("index.html")) return page;
  return Error{fmt::format("the page's folder {} has no index.html; name a copy of web/ of the source tree", folder)};
}

std::optional<http::Reply> Page::answer(std::string_view path, std::string_view if_none_match) const {
  if (!path.starts_with('/')) return std::nullopt;
  path.remove_prefix(1);
  const auto found = files_.find(path.empty() ? std::string_view("index.html") : path);
  if (found == files_.end()) return std::nullopt;
  const File& file = found->second;
  http::Reply reply{.status = 200,
                    .headers = {{"Content-Type", file.type},
                                {"ETag", file.etag},
                                {"Cache-Control", "no-cache"},
                                {"Content-Security-Policy", std::string(kPolicy)},
                                {"X-Content-Type-Options", "nosniff"},
                                {"Referrer-Policy", "no-referrer"}},
                    .body = file.bytes};
  if (if_none_match.find(file.etag) != std::string_view::npos) {
    reply.status = 304;
    reply.body.clear();
  }
  return reply;
}

}  // namespace s3d
