#include "train/text_output.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "train/keyed_random.h"

namespace s3d::train {

using nlohmann::json;

uint64_t hash_of(const std::vector<int32_t>& tokens) {
  uint64_t hash = splitmix64(tokens.size());
  for (const int32_t token : tokens) hash = splitmix64(hash ^ static_cast<uint64_t>(token));
  return hash;
}

Status TextOutput::open(const std::string& path, const std::string& run) {
  path_ = path;
  run_ = run;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) S3D_TRY(read());
  out_.open(path, std::ios::app | std::ios::binary);
  if (!out_) return Error{fmt::format("cannot write {}", path)};
  return Ok();
}

Status TextOutput::append(int64_t id, const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer,
                          const std::string& text, int64_t record_at) {
  json line = {{"id", id}, {"run", run_}, {"prompt_tokens", prompt}, {"answer_tokens", answer}, {"answer", text}};
  if (record_at >= 0) line["record_at"] = record_at;
  // An answer may end within a character.
  out_ << line.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace) << '\n' << std::flush;
  if (!out_) return Error{fmt::format("cannot write {}; is the disk full? The lines before are good", path_)};
  return Ok();
}

Status TextOutput::check_prompt(int64_t id, const std::vector<int32_t>& prompt) const {
  const auto line = lines.find(id);
  if (line == lines.end() || line->second == hash_of(prompt)) return Ok();
  return Error{
      fmt::format("{} holds text of another run: the prompt of its line with the id {} is not the one of this run; "
                  "choose another --out",
                  path_, id)};
}

Status TextOutput::read() {
  std::ifstream in(path_, std::ios::binary);
  std::string line;
  uintmax_t good = 0;
  while (std::getline(in, line) && !in.eof()) {
    const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("id") || !object.contains("prompt_tokens")) {
      return Error{fmt::format("{} holds other lines than \"s3d-train data\" writes; choose another --out", path_)};
    }
    try {
      if (const std::string run = object.value("run", run_); run != run_) {
        return Error{
            fmt::format("{} holds text of another run ({}, this one is {}): another model, or other options; choose "
                        "another --out",
                        path_, run, run_)};
      }
      const uint64_t prompt = hash_of(object.at("prompt_tokens").get<std::vector<int32_t>>());
      lines[object.at("id").get<int64_t>()] = prompt;
      prompts.insert(prompt);
    } catch (const json::exception&) {
      return Error{fmt::format("{} holds a damaged line; choose another --out", path_)};
    }
    good += line.size() + 1;
  }
  in.close();
  std::error_code failed;
  std::filesystem::resize_file(path_, good, failed);
  if (failed) return Error{fmt::format("cannot repair {}: {}", path_, failed.message())};
  return Ok();
}

}  // namespace s3d::train
