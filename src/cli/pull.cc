// s3d pull: a model from a hub into the cache folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/environment.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "cli/report.h"
#include "engine/model_path.h"
#include "fetch/hub.h"

namespace s3d::cli {
namespace {

struct PullCommand {
  std::string reference;
  std::string folder;
  std::string revision = "main";
  std::string endpoint;
  bool json = false;
  PullRequest request;
};

constexpr const char* kPullFooter =
    R"(The file is put into the folder `models` of the cache folder ($S3D_CACHE, else $XDG_CACHE_HOME/s3d, else
~/.cache/s3d). Its path is the last line of stdout; -m USER/REPO/FILE (without .gguf) finds it. A download that
was cut goes on where it stopped. Sizes and checksums are compared with the hub's.
Environment: HF_TOKEN for private repositories, HF_ENDPOINT for another hub.

Examples:
  s3d pull hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF
  s3d pull hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF:qwen2.5-coder-0.5b-instruct-q4_k_m.gguf)";

Status check_pull(PullCommand& o) {
  S3D_ASSIGN(o.request.reference, parse_hub_reference(o.reference));
  o.request.folder = o.folder.empty() ? cache_folder() + "/models" : o.folder;
  o.request.revision = o.revision;
  o.request.token = environment("HF_TOKEN");
  const std::string endpoint = o.endpoint.empty() ? environment("HF_ENDPOINT") : o.endpoint;
  if (!endpoint.empty()) o.request.base_url = without_end_slashes(endpoint);
  return Ok();
}

std::string amount(const DownloadProgress& p) {
  if (p.total == 0) return mebibytes(p.received);
  return fmt::format("{} of {} ({} %)", mebibytes(p.received), mebibytes(p.total), 100 * p.received / p.total);
}

Result<int> run_pull(const PullCommand& o, Console& console) {
  const Interrupt interrupt;
  const bool live = console.shows_progress();
  PullRequest request = o.request;
  request.on_file = [&](const std::string& file) { console.note("fetching " + file); };
  request.progress = [&](const DownloadProgress& p) {
    if (live) fmt::print(stderr, "\r{}\x1b[K", amount(p));
    return !Interrupt::requested();
  };
  const auto files = pull(request);
  if (live) fmt::print(stderr, "\r\x1b[K");
  if (Interrupt::requested()) {
    console.note("stopped; the same command goes on from here");
    return kExitInterrupted;
  }
  if (!files.ok()) return files.error();
  Json list = Json::array();
  for (const DownloadedFile& f : *files) {
    console.note(fmt::format("{}: {}, SHA-256 {}{}", f.path, mebibytes(f.bytes), f.sha256,
                             f.verified ? " as the hub states" : " (the hub states none)"));
    list.push_back({{"path", f.path}, {"bytes", f.bytes}, {"sha256", f.sha256}, {"verified", f.verified}});
  }
  console.text(o.json ? json_text({{"files", list}}) : files->front().path + "\n");
  return kExitOk;
}

}  // namespace

void add_pull(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("pull", "Fetch a model from Hugging Face")->footer(kPullFooter);
  auto o = std::make_shared<PullCommand>();
  command->add_option("reference", o->reference, "hf:USER/REPO[:FILE]")->required()->type_name("REFERENCE");
  command->add_option("--folder", o->folder, "Where to put it (default: models in the cache folder)")->type_name("DIR");
  command->add_option("--revision", o->revision, "Branch, tag or commit")->type_name("NAME")->capture_default_str();
  command->add_option("--endpoint", o->endpoint, "Another hub with the same interface")->type_name("URL");
  command->add_flag("--json", o->json, "One JSON object");
  on_chosen<PullCommand>(*command, program, o, check_pull, run_pull);
}

}  // namespace s3d::cli
