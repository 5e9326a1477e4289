// --spec and its like: how a command drafts.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cli/report.h"
#include "engine/runtime.h"
#include "engine/speculation.h"

namespace CLI {
class App;
}

namespace s3d::cli {

struct DraftingOptions {
  SpeculationOptions settings;
  std::string layers;  // "A+Z"
  bool show = false;

  void add_to(CLI::App& command);
  void add_show_to(CLI::App& command);  // --show-spec
  Status check();                       // also fills settings.layers
};

// Says on stderr, once, that the costs of passes are measured: without a word the first answers of a model would just
// be late. `console` must outlive it.
std::function<void()> measuring_note(const Console& console);

// "drafted 88, accepted 61 (69 %): 2.42 tokens a round; depth 1: 74 %, 2: 55 %"; empty without drafts.
std::string spec_line(const SpecStats& stats);

// The statistics under vLLM's names.
Json spec_json(const SpecStats& stats);

}  // namespace s3d::cli
