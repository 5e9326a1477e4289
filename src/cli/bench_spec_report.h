// How the figures of `s3d bench spec` are shown: a page for people, tables and objects for programs.
#pragma once

#include <string>
#include <vector>

#include "cli/bench_spec_measure.h"
#include "cli/report.h"

namespace s3d::cli {

// Measurements of one model that differ in the temperature.
struct SpecBenchPage {
  std::string model;  // file
  int threads = 1;
  std::string backend, isa;
  std::vector<BackendPart> devices = {};
  std::string prompts;  // files
  int max_tokens = 0;
  struct Run {
    double temperature = 0;
    SpecBenchResult result;
  };
  std::vector<Run> runs;  // at least one

  bool same_tokens() const;
};

std::string spec_markdown(const SpecBenchPage& page);
std::string spec_csv(const SpecBenchPage& page);  // a line for each temperature, drafter and task; "all": all tasks
Json spec_page_json(const SpecBenchPage& page);   // an object; of several temperatures {"runs": [objects]}
std::string spec_svg(const SpecBenchPage& page);  // the first temperature, without made-up drafters

// One of them by its name: md, csv, json or svg.
std::string spec_page_text(const SpecBenchPage& page, const std::string& format);

}  // namespace s3d::cli
