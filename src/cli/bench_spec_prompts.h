// The prompts of `s3d bench spec`: from files, and of later turns with the answers before them.
#pragma once

#include <string>
#include <vector>

#include "cli/bench_spec_measure.h"
#include "engine/prompt.h"
#include "engine/runtime.h"

namespace s3d::cli {

struct BenchPromptOptions {
  std::vector<std::string> files;  // at least one
  int limit = 0;                   // lines of each file, evenly from it; 0: all
  int turns = 1;                   // of a line at most, each a prompt of its own
  PromptOptions prompt = {};       // how they are dressed
  int max_tokens = 128;            // of an answer that a later turn follows
};

// Of several files each is a task, else the lines say what their task is. The prompt of a later turn is the dialogue so
// far: its answers are those of greedy plain decoding. Errors: those of the files and of PromptMaker; several turns
// without a chat template; those of the engine.
Result<std::vector<BenchPrompt>> load_bench_prompts(Runtime& runtime, const BenchPromptOptions& options);

}  // namespace s3d::cli
