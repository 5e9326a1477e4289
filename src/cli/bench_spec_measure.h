// What `s3d bench spec` measures: plain decoding and drafters in turns on the same prompts, in one process.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/training_cost.h"
#include "engine/runtime.h"
#include "engine/speculation.h"

namespace s3d::cli {

// A made-up drafter that is right with a chance (cli/synthetic_drafter.h).
struct SyntheticDraft {
  double rate = 0;     // 0 to 1
  bool paced = false;  // a draft costs what one of S3D's costs; else nothing

  std::string name() const;  // "synthetic-0.7", "synthetic-0.7-paced"
};

struct SpecBenchOptions {
  std::vector<std::string> drafters;
  std::vector<SyntheticDraft> synthetic = {};
  SpeculationOptions settings = {};  // for all of them; its drafter is not used
  DecodeOptions generate = {};
  int repeats = 1;                        // times that a prompt is run by each; the fastest counts
  std::function<void()> on_measure = {};  // as make_speculator()'s
};

struct BenchPrompt {
  std::string category;  // the task: of the line, or of the file
  std::vector<TokenId> tokens;
};

// Of one drafter (or plain decoding, whose ratios are 1) over some prompts.
struct SpecFigures {
  std::string category;  // empty: all prompts
  int prompts = 0;
  int64_t tokens = 0;        // decoded
  double seconds = 0;        // of decoding
  double tps = 0;            // tokens / seconds
  double speedup = 0;        // median over the prompts of plain seconds / its seconds, for the same tokens
  double low = 0, high = 0;  // quartiles of the same
  SpecStats stats;

  double tokens_per_round() const;  // rounds without a draft included
  double draft_share() const;       // of the time, in [0, 1]
  double verify_share() const;      // the same, of full passes
};

struct DrafterResult {
  std::string name;
  size_t extra_bytes = 0;
  size_t peak_bytes = 0;  // resident: of plain decoding before any drafter was made, and extra_bytes
  TrainingCost training;  // of its file
  bool same_tokens = true;
  SpecFigures all;
  std::vector<SpecFigures> categories;  // in the order in which they first come

  // What it adds to the speed of plain decoding for each MiB that it adds to the memory: 0.1 is a tenth of the plain
  // speed. Absent where it takes less than a KiB.
  std::optional<double> gain_per_mib() const;
};

struct SpecBenchResult {
  DrafterResult plain;  // its `name` is "off"
  std::vector<DrafterResult> drafters;
  bool same_tokens = true;
  size_t peak_rss = 0;  // of the whole process, with all drafters
};

// Called before each prompt; false stops.
using OnPrompt = std::function<bool(size_t done, size_t total)>;

// Resident bytes of plain decoding, without what drafters share: to be measured before any drafter is made. Runs one
// prompt.
Result<size_t> plain_peak_bytes(Runtime& runtime, const BenchPrompt& prompt, const DecodeOptions& options);

// Every prompt is prefilled once; then plain decoding and the drafters take turns from there, each round in another
// order. Each drafter keeps one speculator for all prompts, as a server would. `plain_peak`: as plain_peak_bytes()
// told. Errors: those of make_speculator and of the engine.
Result<SpecBenchResult> measure_spec_bench(Runtime& runtime, const std::vector<BenchPrompt>& prompts,
                                           const SpecBenchOptions& plan, size_t plain_peak, const OnPrompt& on_prompt);

}  // namespace s3d::cli
