#include "fetch/hub.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "fetch/http.h"

namespace s3d {
namespace {

// A listing of files is a few hundred KiB at most; more than this is not one.
constexpr size_t kMaxListingBytes = size_t{16} << 20;
constexpr int kMaxParts = 1000;

std::vector<std::string> segments_of(std::string_view path) {
  std::vector<std::string> segments;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    segments.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return segments;
}

bool is_plain(const std::string& segment) {
  return !segment.empty() && segment != "." && segment != ".." &&
         std::none_of(segment.begin(), segment.end(), [](unsigned char c) { return c < 0x20 || c == '\\'; });
}

std::string url_path(std::string_view path) {
  std::string result;
  for (const std::string& segment : segments_of(path)) result += "/" + url_segment(segment);
  return result;
}

std::string repo_url(const PullRequest& request, const char* prefix) {
  return fmt::format("{}{}/{}/{}", request.base_url, prefix, url_segment(request.reference.user),
                     url_segment(request.reference.repo));
}

// The number that the digits are; -1 if something else is among them.
int number_of_digits(std::string_view digits) {
  int number = -1;
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return -1;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

// The body of a small document.
Result<std::string> get_text(const PullRequest& request, const std::string& url) {
  std::string body;
  HttpRequest get{.url = url, .token = request.token};
  get.data = [&](std::string_view bytes) {
    body += bytes;
    return body.size() <= kMaxListingBytes;
  };
  const HttpOutcome outcome = http_exchange(get);
  if (body.size() > kMaxListingBytes) return Error{fmt::format("{} is longer than a list of files can be", url)};
  if (outcome.failure) return Error{fmt::format("cannot read {}: {}", url, outcome.failure->message)};
  if (outcome.response.status == 401 || outcome.response.status == 404) {
    return Error{fmt::format("{}/{}: no such repository at {} (answer {}); if it is not public, set HF_TOKEN",
                             request.reference.user, request.reference.repo, request.base_url,
                             outcome.response.status)};
  }
  if (outcome.response.status != 200) {
    return Error{fmt::format("cannot read {}: the server answered {}", url, outcome.response.status)};
  }
  return body;
}

}  // namespace

Result<HubReference> parse_hub_reference(std::string_view text) {
  const Error wrong{fmt::format("\"{}\" does not name a model; expected hf:USER/REPO or hf:USER/REPO:FILE.gguf", text)};
  std::string_view rest = text;
  if (rest.starts_with("hf:")) rest.remove_prefix(3);
  HubReference reference;
  if (const size_t colon = rest.find(':'); colon != std::string_view::npos) {
    reference.file = rest.substr(colon + 1);
    const std::vector<std::string> parts = segments_of(reference.file);
    if (!std::all_of(parts.begin(), parts.end(), is_plain)) return wrong;
    rest = rest.substr(0, colon);
  }
  const std::vector<std::string> names = segments_of(rest);
  if (names.size() != 2 || !is_plain(names[0]) || !is_plain(names[1])) return wrong;
  reference.user = names[0];
  reference.repo = names[1];
  return reference;
}

Result<std::vector<std::string>> list_gguf_files(const PullRequest& request) {
  const std::string url =
      fmt::format("{}/tree/{}?recursive=true", repo_url(request, "/api/models"), url_segment(request.revision));
  S3D_ASSIGN(const std::string body, get_text(request, url));
  const nlohmann::json listing = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!listing.is_array()) return Error{fmt::format("{}: expected a JSON array of files", url)};
  std::vector<std::string> files;
  for (const nlohmann::json& entry : listing) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) continue;
    std::string path = entry["path"].get<std::string>();
    const std::vector<std::string> parts = segments_of(path);
    const bool plain = std::all_of(parts.begin(), parts.end(), is_plain);
    if (plain && path.ends_with(".gguf")) files.push_back(std::move(path));
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::string> choose_gguf_file(const std::vector<std::string>& files) {
  std::vector<std::string> models;
  for (const std::string& file : files) {
    if (split_parts(file).front() == file) models.push_back(file);
  }
  if (models.empty()) return Error{"the repository has no GGUF file; name one that has"};
  if (models.size() == 1) return models.front();
  std::vector<std::string> usual;
  std::copy_if(models.begin(), models.end(), std::back_inserter(usual), [](std::string name) {
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    return name.find("Q4_K_M") != std::string::npos;
  });
  if (usual.size() == 1) return usual.front();
  return Error{fmt::format("the repository has {} GGUF files; name one after a colon: {}", models.size(),
                           fmt::join(models, ", "))};
}

std::vector<std::string> split_parts(const std::string& file) {
  constexpr std::string_view kForm = "-00001-of-00002.gguf";
  if (file.size() < kForm.size()) return {file};
  const std::string_view name = file, prefix = name.substr(0, name.size() - kForm.size()),
                         end = name.substr(prefix.size());
  const int number = number_of_digits(end.substr(1, 5)), count = number_of_digits(end.substr(10, 5));
  const bool split = end[0] == '-' && end.substr(6, 4) == "-of-" && end.ends_with(".gguf");
  if (!split || count < 1 || count > kMaxParts || number < 1 || number > count) return {file};
  std::vector<std::string> parts;
  for (int i = 1; i <= count; ++i) parts.push_back(fmt::format("{}-{:05}-of-{:05}.gguf", prefix, i, count));
  return parts;
}

Result<std::vector<DownloadedFile>> pull(const PullRequest& request) {
  std::string file = request.reference.file;
  const std::string name = request.reference.user + "/" + request.reference.repo;
  if (file.empty()) {
    S3D_ASSIGN(const std::vector<std::string> files, list_gguf_files(request));
    Result<std::string> chosen = choose_gguf_file(files);
    if (!chosen.ok()) return chosen.error().within(name);
    file = *chosen;
  }
  std::vector<DownloadedFile> downloaded;
  for (const std::string& part : split_parts(file)) {
    if (request.on_file) request.on_file(part);
    DownloadRequest one;
    one.url = fmt::format("{}/resolve/{}{}", repo_url(request, ""), url_segment(request.revision), url_path(part));
    one.path = fmt::format("{}/{}/{}", request.folder, name, part);
    one.token = request.token;
    one.attempts = request.attempts;
    one.retry_delay = request.retry_delay;
    one.progress = request.progress;
    S3D_ASSIGN(DownloadedFile done, download(one));
    downloaded.push_back(std::move(done));
  }
  return downloaded;
}

}  // namespace s3d
