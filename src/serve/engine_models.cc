#include "serve/engine_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/environment.h"
#include "fetch/hub.h"
#include "serve/model_card.h"

namespace s3d::serve {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".gguf";
constexpr int kMaxDepth = 3;  // USER/REPO/FILE

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// "Q4_K_M" of "model-Q4_K_M.gguf"; empty: the name says nothing like it.
std::string tag_of(const std::string& file) {
  const std::string stem = fs::path(file).stem().string();
  const size_t dash = stem.find_last_of("-.");
  return dash == std::string::npos ? "" : stem.substr(dash + 1);
}

std::vector<std::string> hub_aliases(const fs::path& relative) {
  std::vector<std::string> parts;
  for (const fs::path& part : relative) parts.push_back(part.string());
  if (parts.size() != 3) return {};
  const std::string repo = parts[0] + "/" + parts[1];
  std::vector<std::string> aliases = {repo, "hf:" + repo, "hf.co/" + repo, "huggingface.co/" + repo};
  if (const std::string tag = tag_of(parts[2]); !tag.empty()) {
    aliases.push_back("hf.co/" + repo + ":" + tag);
    aliases.push_back(repo + ":" + tag);
  }
  return aliases;
}

Result<LoadedModel> load_model(const EngineModelsOptions& options, const ModelSource& source) {
  RuntimeOptions wanted = options.runtime;
  wanted.model = source.path;
  S3D_ASSIGN(std::unique_ptr<Runtime> runtime, Runtime::load(wanted));
  EngineServiceOptions service = options.service;
  service.id = source.id;
  service.aliases = source.aliases;
  S3D_ASSIGN(const std::shared_ptr<EngineService> made, EngineService::create(std::move(runtime), std::move(service)));
  return LoadedModel{made, [made](std::chrono::milliseconds drain) { made->close(drain); }};
}

// The file of a repository whose name has the tag.
Result<std::string> file_with_tag(const PullRequest& request, const std::string& tag) {
  S3D_ASSIGN(const std::vector<std::string> files, list_gguf_files(request));
  const auto has_tag = [&](const std::string& file) { return lower(file).find(lower(tag)) != std::string::npos; };
  const auto at = std::find_if(files.begin(), files.end(), has_tag);
  if (at == files.end()) return Error{fmt::format("the repository has no GGUF file whose name has '{}'", tag)};
  return *at;
}

Result<PullRequest> parse_pull(std::string name, const std::string& folder) {
  for (const std::string_view prefix : {"https://", "hf.co/", "huggingface.co/"}) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  }
  if (name.ends_with(":latest")) name.resize(name.size() - std::string_view(":latest").size());
  PullRequest request;
  S3D_ASSIGN(request.reference, parse_hub_reference(name));
  request.folder = folder;
  request.token = environment("HF_TOKEN");
  std::string& file = request.reference.file;
  if (!file.empty() && !file.ends_with(kEnding)) {
    S3D_ASSIGN(file, file_with_tag(request, file));
  }
  return request;
}

}  // namespace

std::unique_ptr<ModelPool> make_model_pool(const EngineModelsOptions& options) {
  std::vector<ModelSource> sources = options.sources;
  if (!options.folder.empty()) {
    for (ModelSource& source : models_in(options.folder)) sources.push_back(std::move(source));
  }
  PoolOptions pool;
  pool.keep_alive = options.keep_alive;
  pool.memory_budget = options.memory_budget;
  if (!options.folder.empty()) {
    pool.scan = [folder = options.folder] { return models_in(folder); };
  }
  pool.read_card = [options](const ModelSource& source) -> Result<ModelCard> {
    S3D_ASSIGN(ModelCard card, read_model_card(source.path, source.id, options.service.defaults));
    card.aliases = source.aliases;
    const int wanted = options.runtime.context > 0 ? options.runtime.context : Runtime::kDefaultContext;
    card.context = std::min(wanted, card.trained_context);
    card.parallel = options.service.scheduler.max_running;
    card.drafter = options.service.speculation.drafter;
    return card;
  };
  pool.load = [options](const ModelSource& source) { return load_model(options, source); };
  return std::make_unique<ModelPool>(sources, std::move(pool));
}

std::vector<ModelSource> models_in(const std::string& folder) {
  std::vector<ModelSource> found;
  std::error_code failed;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, failed), end;
  while (!failed && at != end) {
    if (at.depth() >= kMaxDepth) at.disable_recursion_pending();
    const std::string path = at->path().string();
    std::error_code unknown;
    if (path.ends_with(kEnding) && at->is_regular_file(unknown) && split_parts(path).front() == path) {
      const fs::path relative = fs::relative(path, folder, unknown);
      std::string id = relative.string();
      id.resize(id.size() - kEnding.size());
      found.push_back({std::move(id), hub_aliases(relative), path});
    }
    at.increment(failed);
  }
  std::sort(found.begin(), found.end(), [](const ModelSource& a, const ModelSource& b) { return a.id < b.id; });
  return found;
}

PullModel make_pull(ModelPool& pool, std::string folder) {
  return [&pool, folder = std::move(folder)](const std::string& name, const auto& progress) -> Status {
    if (pool.find(name)) return Ok();
    S3D_ASSIGN(PullRequest request, parse_pull(name, folder));
    std::string file;
    request.on_file = [&file](const std::string& started) { file = started; };
    request.progress = [&](const DownloadProgress& now) {
      return progress({.status = "pulling " + file, .digest = file, .total = now.total, .completed = now.received});
    };
    S3D_ASSIGN(const std::vector<DownloadedFile> files, pull(request));
    std::vector<ModelSource> sources = models_in(folder);
    std::erase_if(sources, [&](const ModelSource& source) { return !fs::equivalent(source.path, files.front().path); });
    pool.add(sources);
    return Ok();
  };
}

}  // namespace s3d::serve
