// The JSONL file that training text is appended to, line by line; a run that was killed goes on where it stopped.
#pragma once

#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::train {

// Tells token sequences apart.
uint64_t hash_of(const std::vector<int32_t>& tokens);

class TextOutput {
 public:
  // Reads what is there; a last line without its end is cut off. Errors: cannot be read, repaired or written; lines of
  // another kind.
  Status open(const std::string& path);

  // `text`: the answer's, for readers. `record_at`: where the line's record in the file of records begins, or -1.
  // Error: the disk is full.
  Status append(int64_t id, const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer,
                const std::string& text, int64_t record_at);

  std::set<int64_t> ids;       // of the lines that were there
  std::set<uint64_t> prompts;  // hash_of() their prompts

 private:
  Status read();

  std::string path_;
  std::ofstream out_;
};

}  // namespace s3d::train
