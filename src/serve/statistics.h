// What the server counts, for /metrics: the names of vLLM's and of llama-server's users, in Prometheus' text format.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "serve/model_service.h"

namespace s3d::serve {

// Counts of values up to some bounds, as Prometheus has them.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void add(double value);
  // The lines of all its samples. `labels`: as in {…}, without the braces.
  void write(const std::string& name, const std::string& labels, std::string& out) const;

 private:
  std::vector<double> bounds_;   // ascending
  std::vector<int64_t> counts_;  // [bounds + 1] values at most bounds_[i], above the one before; the last: the rest
  double sum_ = 0;
  int64_t count_ = 0;
};

// An answer that has ended, as a client saw it.
struct AnswerRecord {
  const JobEnd& end;
  double first_token_seconds = 0;  // from the request's arrival; 0: there was none
  double whole_seconds = 0;        // from the request's arrival to its last token
};

// Thread rule: any thread, any number at a time.
class Statistics {
 public:
  void count(const std::string& model, const AnswerRecord& answer);
  void count_refused();  // a request that got 503

  // The whole page. `models`: those that are loaded, and how busy each is.
  struct ModelLoad {
    std::string name;
    int context = 0;
    LoadStats load;
  };
  std::string page(const std::vector<ModelLoad>& models) const;

 private:
  struct Totals {
    int64_t prompt_tokens = 0;             // cached ones included
    int64_t cached_tokens = 0;             //
    int64_t answer_tokens = 0;             //
    double prompt_seconds = 0;             //
    double answer_seconds = 0;             //
    int64_t longest = 0;                   // prompt and answer
    std::map<std::string, int64_t> ended;  // by reason
    SpecStats spec;
    Histogram first_token{{0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160}};
    Histogram token{{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}};
    Histogram whole{{0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480}};
    Histogram queue{{0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120}};
    Histogram prompt_length{{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000}};
    Histogram answer_length{{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000}};
  };

  mutable std::mutex mutex_;
  std::map<std::string, Totals> totals_;  // by model; by mutex_
  int64_t refused_ = 0;                   // by mutex_

  friend class MetricsPage;
};

}  // namespace s3d::serve
