// The JSONL file that training text is appended to, line by line; a run that was killed goes on where it stopped.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::train {

// Tells token sequences apart.
uint64_t hash_of(const std::vector<int32_t>& tokens);

class TextOutput {
 public:
  // Reads what is there; a last line without its end is cut off. `run`: what the text depends on beside its prompt, in
  // each line; lines of older versions have none. Errors: cannot be read, repaired or written; lines of another kind or
  // of another run.
  Status open(const std::string& path, const std::string& run);

  // Whether the line `id`, if it is there, has this prompt. Error: it has not, so the file is of another run.
  Status check_prompt(int64_t id, const std::vector<int32_t>& prompt) const;

  // `text`: the answer's, for readers. `record_at`: where the line's record in the file of records begins, or -1.
  // Error: the disk is full.
  Status append(int64_t id, const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer,
                const std::string& text, int64_t record_at);

  std::map<int64_t, uint64_t> lines;  // that were there: id -> hash_of() its prompt
  std::set<uint64_t> prompts;         // hash_of() their prompts

 private:
  Status read();

  std::string path_, run_;
  std::ofstream out_;
};

}  // namespace s3d::train
