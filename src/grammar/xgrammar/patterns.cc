#include "grammar/xgrammar/patterns.h"

#include <grammar_functor.h>  // of xgrammar's sources

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace s3d {
namespace {

// As xgrammar's converter of schemas decides it.
Status check_pattern(const std::string& pattern) {
  const auto error = [&](const std::string& why) {
    return Error{"the pattern '" + pattern + "' is not supported: " + why};
  };
  const bool ascii = std::all_of(pattern.begin(), pattern.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!ascii) return error("only ASCII characters are, with \\u for others");
  auto made = xgrammar::GrammarFSMBuilder::Regex(pattern, /*json_string=*/true);
  if (made.IsErr()) return error(std::move(made).UnwrapErr().what());
  const auto automaton = std::move(made).Unwrap();
  std::unordered_set<int> states;
  automaton.GetReachableStates(&states);
  const bool ends = std::any_of(states.begin(), states.end(), [&](int state) { return automaton.IsEndState(state); });
  if (!ends) return error("no text without quotes, backslashes and control characters fits");
  return Ok();
}

Status check_all(const nlohmann::json& json) {
  for (const auto& [key, value] : json.items()) {
    if (key == "pattern" && value.is_string() && json.value("type", nlohmann::json()) == "string") {
      S3D_TRY(check_pattern(value.get<std::string>()));
    }
    if (value.is_structured()) S3D_TRY(check_all(value));
  }
  return Ok();
}

}  // namespace

Status check_patterns(const std::string& tags) {
  return check_all(nlohmann::json::parse(tags));
}

}  // namespace s3d
