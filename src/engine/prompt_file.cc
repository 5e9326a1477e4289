#include "engine/prompt_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text_file.h"

namespace s3d {
namespace {

using nlohmann::json;

std::vector<std::string> turns_of(const json& object) {
  for (const char* key : {"prompt", "text"}) {
    const auto found = object.find(key);
    if (found != object.end() && found->is_string()) return {found->get<std::string>()};
  }
  std::vector<std::string> turns;
  const auto found = object.find("turns");
  if (found == object.end() || !found->is_array()) return {};
  for (const json& turn : *found) {
    if (!turn.is_string()) return {};
    turns.push_back(turn.get<std::string>());
  }
  return turns;
}

Result<FilePrompt> prompt_of(const std::string& line, const std::string& where) {
  if (line[line.find_first_not_of(" \t")] != '{') return FilePrompt{.category = "", .turns = {line}};
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  FilePrompt prompt;
  if (object.is_object()) prompt.turns = turns_of(object);
  if (prompt.turns.empty()) {
    return Error{where + ": expected a JSON object with \"turns\", \"prompt\" or \"text\", or a line of text"};
  }
  const auto category = object.find("category");
  if (category != object.end() && category->is_string()) prompt.category = category->get<std::string>();
  return prompt;
}

}  // namespace

Result<std::vector<FilePrompt>> read_prompt_file(const std::string& path) {
  auto text = read_text_file(path);
  if (!text.ok()) return text.error().within("the prompts");
  std::istringstream in(std::move(*text));
  std::vector<FilePrompt> prompts;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    S3D_ASSIGN(FilePrompt prompt, prompt_of(line, fmt::format("{}:{}", path, number)));
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return Error{fmt::format("{} holds no prompts", path)};
  return prompts;
}

}  // namespace s3d
