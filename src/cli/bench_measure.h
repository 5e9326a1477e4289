// What `s3d bench` measures, and that the answer is right before it is timed.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/result.h"
#include "engine/runtime.h"

namespace s3d::cli {

struct BenchOptions {
  int prompt = 512;   // tokens of the prefill
  int decode = 32;    // tokens of one decode sample
  int samples = 9;    // rounds that count; one more comes before them to warm up
  int max_rows = 16;  // passes of 1 … max_rows rows are timed
  int depth = 64;     // committed positions before the rows of such a pass
  // Bytes read for the bandwidth: 16 times the largest last-level cache seen on machines of this class (32 MiB).
  size_t buffer_bytes = size_t{512} << 20U;
};

// Medians over the rounds; every round measures everything once, so that a slow moment hits all alike.
struct BenchResult {
  double prefill_tps = 0;
  double decode_tps = 0;
  double read_gbps = 0;            // 10^9 bytes per second that all threads together read from the buffer
  double weight_gbps = 0;          // bytes of weights read per second while decoding
  std::vector<double> pass_ms;     // [max_rows] one pass over n = i + 1 rows, logits of all of them wanted
  std::vector<double> pass_cost;   // [max_rows] T(n) / T(1)
  std::vector<double> draft_cost;  // [masks + 1] a draft of i + 1 tokens by the model's adapter / T(1); empty: none
  size_t peak_rss = 0;             // before the bandwidth buffer was made
};

// Called before each round, 0 being the warm-up; false stops with an error.
using OnRound = std::function<bool(int round)>;

// Errors: a plan that does not fit into the engine's context; a pass over n rows that does not give each row, bit for
// bit, what a pass of its own gives.
Result<BenchResult> measure_bench(Runtime& runtime, const BenchOptions& plan, const OnRound& on_round);

}  // namespace s3d::cli
