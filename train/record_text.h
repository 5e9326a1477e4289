// Runs the engine over text that is there and writes its base records (base_record.h): for other draft layers than the
// text was made with, or for text that was made without records.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "train/base_record.h"

namespace s3d::train {

struct RecordTextOptions {
  std::string model;  // file, or name in the cache folder
  std::string data;   // text of `s3d-train data`
  std::string out;    // the same lines, each with the place of its record in OUT.records; appended to
  RecordOptions record;
  int max_length = 2048;  // longer sequences are cut
  int threads = 0;        // 0: all cores
  const std::atomic<bool>* stop = nullptr;
  std::function<void(const std::string&)> log;
};

struct RecordTextSummary {
  int64_t written = 0;  // by this call
  int64_t there = 0;    // from earlier calls
  int64_t tokens = 0;   // run by this call
  double seconds = 0;
  bool finished = true;
};

// The same call goes on where it was stopped. Errors: what the engine refuses; no layer or too many;
// text that cannot be read; files that cannot be written.
Result<RecordTextSummary> record_text(const RecordTextOptions& run);

}  // namespace s3d::train
