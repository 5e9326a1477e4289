// What is trained on: prompts and answers as token ids.
#pragma once

#include <cstdint>
#include <set>
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
  std::set<std::string> runs;  // what the lines say of the runs that made them
  uint64_t hash = 0;           // of all tokens and lengths: tells whether stored results are for this data

  int64_t tokens() const;         // all of them
  int64_t answer_tokens() const;  // of the answers
};

// Reads JSONL files, compressed with zstd or not: one object a line with the arrays "prompt_tokens" and
// "answer_tokens". A first line with "text_of" tells where the text is from (pack_text) and is passed over. Sequences
// are cut to `max_length` tokens; those whose answer keeps fewer than two tokens are left out. Errors name file and
// line: not JSON, keys missing, ids outside [0, vocab_size), nothing left; damaged files.
Result<Dataset> read_dataset(const std::vector<std::string>& paths, int vocab_size, int max_length);

// The bytes of a compressed file of the tokens in `data` and nothing else, which read_dataset() reads. `origin`: its
// first line, a JSON object, gets these keys; what made the text is for people.
struct TextOrigin {
  std::string model, fingerprint;  // of the target whose answers they are
  std::string note;                // what prompts, which command
};
std::string pack_text(const Dataset& data, const TextOrigin& origin);

// The `size` tokens that answers hold most often, most frequent first (equal counts: smaller id first), filled up with
// the smallest ids that never occur. Special tokens count as any other.
std::vector<int32_t> frequent_tokens(const Dataset& data, int vocab_size, int size);

}  // namespace s3d::train
