// What `s3d bench spec` measures: plain decoding and drafters in turns on the same prompts, in one process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/runtime.h"
#include "engine/speculation.h"

namespace s3d::cli {

struct SpecBenchOptions {
  std::vector<std::string> drafters;
  SpeculationOptions settings;  // for all of them; its drafter is not used
  DecodeOptions generate;
  int repeats = 1;                        // times that a prompt is run by each; the fastest counts
  std::function<void()> on_measure = {};  // as make_speculator()'s
};

struct BenchPrompt {
  std::string category;
  std::vector<TokenId> tokens;
};

// Of one drafter (or plain decoding, whose ratios are 1) over some prompts.
struct SpecFigures {
  std::string category;  // empty: all prompts
  int prompts = 0;
  int64_t tokens = 0;  // decoded
  double seconds = 0;  // of decoding
  double tps = 0;      // tokens / seconds
  double speedup = 0;  // median over the prompts of plain seconds / its seconds, for the same tokens
  SpecStats stats;
};

struct DrafterResult {
  std::string name;
  size_t extra_bytes = 0;
  bool same_tokens = true;
  SpecFigures all;
  std::vector<SpecFigures> categories;  // in the order in which they first come
};

struct SpecBenchResult {
  DrafterResult plain;  // its `name` is "off"
  std::vector<DrafterResult> drafters;
  bool same_tokens = true;
  size_t peak_rss = 0;
};

// Called before each prompt; false stops.
using OnPrompt = std::function<bool(size_t done, size_t total)>;

// Every prompt is prefilled once; then plain decoding and the drafters take turns from there, each round in another
// order. Each drafter keeps one speculator for all prompts of a category order, as a server would. Errors: those of
// make_speculator and of the engine.
Result<SpecBenchResult> measure_spec_bench(Runtime& runtime, const std::vector<BenchPrompt>& prompts,
                                           const SpecBenchOptions& plan, const OnPrompt& on_prompt);

}  // namespace s3d::cli
