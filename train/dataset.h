// What is trained on: prompts and answers as token ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::train {

// One conversation turn. The answer is the target's own (greedy or sampled) and includes its end token, if any.
struct Sequence {
  std::vector<int32_t> tokens;  // prompt, then answer
  int prompt_length;
  int file = 0;            // index in Dataset::files of the file it came from
  int64_t record_at = -1;  // its record in record_path() of that file (base_record.h); -1: none

  int length() const { return static_cast<int>(tokens.size()); }
  int answer_length() const { return length() - prompt_length; }
};

struct Dataset {
  std::vector<Sequence> sequences;
  std::vector<std::string> files;
  uint64_t hash = 0;  // of all tokens and lengths: tells whether stored results are for this data

  int64_t tokens() const;         // all of them
  int64_t answer_tokens() const;  // of the answers
};

// Reads JSONL files: one object a line with the arrays "prompt_tokens" and "answer_tokens". Sequences are cut to
// `max_length` tokens; those whose answer keeps fewer than two tokens are left out. Errors name file and line: not
// JSON, keys missing, ids outside [0, vocab_size), nothing left.
Result<Dataset> read_dataset(const std::vector<std::string>& paths, int vocab_size, int max_length);

// The `size` tokens that answers hold most often, most frequent first (equal counts: smaller id first), filled up with
// the smallest ids that never occur. Special tokens count as any other.
std::vector<int32_t> frequent_tokens(const Dataset& data, int vocab_size, int size);

}  // namespace s3d::train
