// Many users at once, for measuring a server: so many streams ask one question after the other over the OpenAI API.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::cli {

// A server that is measured.
struct LoadTarget {
  std::string name;     // in tables
  std::string url;      // "http://127.0.0.1:8080": what stands before /v1
  std::string api_key;  // "" = none
  std::string model;    // "" = the first of /v1/models
};

struct LoadPlan {
  std::vector<std::string> questions;  // asked in turn, from the first; not empty
  int requests = 0;                    // answered in all
  int streams = 1;                     // at the same time
  int max_tokens = 128;
  double temperature = 0;
  bool ignore_end = false;  // answers go on to max_tokens
  int long_prompt = 0;      // words of a prompt that arrives once while the streams run; 0: none arrives
};

// What a long prompt did to the streams that ran while the server read it.
struct LongPrompt {
  int tokens = 0;            // of the prompt, as the server counts them
  double first = 0;          // seconds to its first text
  std::vector<double> gaps;  // seconds between pieces of the other streams' text that fell, in part, into this time
};

// What one level of load came to.
struct LoadResult {
  int streams = 0;
  int requests = 0;  // answered to the end
  int failed = 0;
  std::string failure;        // of the first that failed
  int64_t tokens = 0;         // of all answers, as the server counts them
  double seconds = 0;         // from the first question to the last answer's end
  std::vector<double> first;  // [requests] seconds to the first text
  std::vector<double> gaps;   // seconds between pieces of text
  std::vector<double> rates;  // [requests] tokens a second of each stream, the wait for the first text left out
  LongPrompt long_prompt;     // if the plan has one and it was answered
  double tps() const { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; }
};

// The models that a server names. Error: no answer, or one that is not understood.
Result<std::vector<std::string>> served_models(const LoadTarget& target);

// Runs the plan. `keep_going` (may be empty) is asked some times a second; false ends it early. Error: not a single
// request was answered (says why).
Result<LoadResult> run_load(const LoadTarget& target, const LoadPlan& plan, const std::function<bool()>& keep_going);

// The value below which a share of `values` lies, 0 <= share <= 1, by the nearest rank; 0 when there is none.
double percentile(std::vector<double> values, double share);

}  // namespace s3d::cli
