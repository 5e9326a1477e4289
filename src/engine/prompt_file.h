// Prompts in a file, for measuring and for making training text.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace s3d {

struct FilePrompt {
  std::string category;            // of the JSON object; empty if it has none
  std::vector<std::string> turns;  // at least one; the user's messages in order
};

// A line is a JSON object with "turns" (texts), "prompt" or "text", and perhaps "category"; or it is a prompt as it
// stands. Empty lines are skipped. Error: names the file and the line; no prompts at all.
Result<std::vector<FilePrompt>> read_prompt_file(const std::string& path);

}  // namespace s3d
