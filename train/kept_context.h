// What `s3d-train data --keep` leaves beside its text: the keys and values that the engine had in its cache anyway when
// it made an answer, and the base's distribution at each token of it. Training then needs no pass of the base at all.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "pass/kv_cache.h"

namespace s3d::train {

// What a file holds. The file begins with label(), padded to kHeaderBytes; a file of another label is refused.
struct KeptFormat {
  uint64_t fingerprint = 0;  // of the base
  int n_layers = 0, n_kv_heads = 0, head_dim = 0;
  int head = 0, tail = 0;  // the plan: layers whose keys and values are kept
  int soft = 0;            // most probable tokens kept at each position

  static constexpr size_t kHeaderBytes = 256;
  std::string label() const;
  int kept() const { return head + tail; }
  int layer_of(int kept_layer) const { return kept_layer < head ? kept_layer : n_layers - kept() + kept_layer; }
  int64_t kv_halfs(int64_t length) const { return int64_t{2} * kept() * n_kv_heads * head_dim * length; }
  int64_t soft_numbers(int64_t length) const { return length * soft; }
  int64_t record_bytes(int64_t length) const { return 2 * kv_halfs(length) + 6 * soft_numbers(length); }
};

// One sequence. Halfs are bit patterns.
struct KeptRecord {
  std::vector<uint16_t> kv;                  // [kept, 2, length, kv_heads, head_dim]
  std::vector<int32_t> soft_tokens;          // [length, soft]
  std::vector<uint16_t> soft_probabilities;  // [length, soft], 0 where the base was not asked
};

// The most probable tokens of one row of logits, most probable first, and their probabilities. `log_sum`: the
// logarithm of the sum of exp(logits).
void top_tokens(std::span<const float> logits, float log_sum, std::span<int32_t> tokens,
                std::span<float> probabilities);

// Keys and values of the committed positions of `seq`, zeros for the rest up to `length`. The cache must be F16.
std::vector<uint16_t> kept_kv(KvCache& cache, SeqId seq, const KeptFormat& format, int length);

// Appends records. What a killed run left behind the last line of text is never read, so resuming needs no repair.
class KeptWriter {
 public:
  // Error: the file cannot be written, or holds records of another format.
  Status open(const std::string& path, const KeptFormat& format);
  // Where the record begins, for the line of text. Error: the disk is full.
  Result<int64_t> append(const KeptRecord& record);

 private:
  std::string path_;
  std::ofstream out_;
};

// Reads records.
class KeptReader {
 public:
  // Error: the file cannot be read or is of another format (says both).
  static Result<KeptReader> open(const std::string& path, const KeptFormat& format);
  // Error: the file is too short for a record of `length` positions at `at`.
  Result<KeptRecord> read(int64_t at, int length);

 private:
  std::string path_;
  KeptFormat format_;
  std::unique_ptr<std::ifstream> in_;
};

// Name of the file that lies beside a text file.
std::string kept_path(const std::string& data_path);

}  // namespace s3d::train
