#include "engine/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/atomic_file.h"
#include "engine/model_path.h"
#include "engine/pass_costs.h"
#include "engine/runtime.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 2;

Tuning from_json(const json& object) {
  return {.drafter = object.at("drafter").get<std::string>(),
          .file_key = object.at("drafter_file").get<std::string>(),
          .chances = object.at("chances").get<std::vector<double>>(),
          .depth = object.at("depth").get<int>(),
          .plain_tps = object.at("plain_tps").get<double>(),
          .tps = object.at("tps").get<double>(),
          .tps_error = object.at("tps_error").get<double>(),
          .best_plan = object.at("best_plan").get<std::string>(),
          .best_tps = object.at("best_tps").get<double>(),
          .best_error = object.at("best_error").get<double>()};
}

bool sane(const Tuning& tuning) {
  return std::all_of(tuning.chances.begin(), tuning.chances.end(), [](double c) { return c >= 0 && c <= 1; });
}

}  // namespace

std::string drafter_file_key(const std::string& path) {
  if (path.empty()) return "none";
  const Result<GgufFile> file = GgufFile::open(path);
  if (!file.ok()) return "none";
  return fmt::format("{} bytes, {}", file->file_bytes(), fingerprint_text(base_fingerprint(*file)));
}

std::string tuning_path(const Runtime& runtime) {
  const std::string name =
      fmt::format("{}-t{}.json", fingerprint_text(base_fingerprint(runtime.file())), runtime.threads());
  return (fs::path(cache_folder()) / "tune" / name).string();
}

FoundTuning read_tuning(const Runtime& runtime) {
  const std::string path = tuning_path(runtime);
  std::ifstream in(path);
  if (!in) return {};
  const json object = json::parse(in, nullptr, /*allow_exceptions=*/false);
  const auto stale = [&path](const std::string& why) {
    return FoundTuning{.tuning = std::nullopt, .stale = fmt::format("{}: {}; run s3d tune again", path, why)};
  };
  try {
    if (!object.is_object()) return stale("not a tuning");
    if (object.value("version", 0) != kVersion) return stale("made by another version of S3D");
    const std::string machine = object.at("machine").get<std::string>();
    if (machine != cost_machine_key(runtime)) {
      return stale(fmt::format("made for '{}', this is '{}'", machine, cost_machine_key(runtime)));
    }
    const Tuning tuning = from_json(object);
    const std::string file = drafter_file_key(runtime.adapter_path());
    if (tuning.file_key != file) {
      return stale(fmt::format("made with the drafter file '{}', now it is '{}'", tuning.file_key, file));
    }
    return sane(tuning) ? FoundTuning{.tuning = tuning, .stale = ""} : stale("its chances are not between 0 and 1");
  } catch (const json::exception&) {
    return stale("a value is missing or of another type");
  }
}

std::vector<double> tuned_chances(const Runtime& runtime, std::string_view drafter, std::string_view file) {
  if (file != runtime.adapter_path()) return {};
  const FoundTuning found = read_tuning(runtime);
  return found.tuning && found.tuning->drafter == drafter ? found.tuning->chances : std::vector<double>();
}

Status write_tuning(const Runtime& runtime, const Tuning& tuning) {
  const json object = {{"version", kVersion},
                       {"machine", cost_machine_key(runtime)},
                       {"model", runtime.file().path()},
                       {"drafter", tuning.drafter},
                       {"drafter_file", tuning.file_key},
                       {"chances", tuning.chances},
                       {"depth", tuning.depth},
                       {"plain_tps", tuning.plain_tps},
                       {"tps", tuning.tps},
                       {"tps_error", tuning.tps_error},
                       {"best_plan", tuning.best_plan},
                       {"best_tps", tuning.best_tps},
                       {"best_error", tuning.best_error}};
  const std::string path = tuning_path(runtime), text = object.dump(1) + "\n";
  std::error_code ignored;  // what is wrong, writing says
  fs::create_directories(fs::path(path).parent_path(), ignored);
  return write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace s3d
