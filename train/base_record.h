// Base records: what the base computed over a text for training, kept in a file beside it: its keys and values, its
// most probable tokens and, if asked, its hidden states. Training then needs no pass of the base at all.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/kv_cache.h"
#include "base/result.h"
#include "model/config.h"
#include "model/layer_set.h"

namespace s3d::train {

// Positions whose hidden states are recorded or asked for: none, those that chose the answer's tokens, or all.
enum class RecordStates : uint8_t { kNone, kAnswer, kAll };

// What is to be recorded of a text.
struct RecordOptions {
  LayerSet layers;      // whose keys and values are recorded: those of the draft pass
  int soft = 16;        // most probable tokens at each position
  bool states = false;  // hidden states too: of all positions where text is read, of the answer where it is made
};

// What a file holds, or what a reader asks for. The file begins with label(), padded to kHeaderBytes.
struct RecordFormat {
  uint64_t fingerprint = 0;  // of the base
  int n_layers = 0, n_kv_heads = 0, head_dim = 0;
  LayerSet layers;  // whose keys and values are recorded
  int soft = 0;     // most probable tokens of each position
  int d_model = 0;
  RecordStates states = RecordStates::kNone;  // also rms(h), h the hidden state after the last layer

  static constexpr size_t kHeaderBytes = 256;
  std::string label() const;
  int64_t kv_halfs(int64_t length) const { return int64_t{2} * layers.count() * n_kv_heads * head_dim * length; }
  int64_t soft_numbers(int64_t length) const { return length * soft; }
  int64_t state_halfs(int64_t length) const { return states == RecordStates::kNone ? 0 : length * d_model; }
};

// `states`: what of them is recorded if the options ask for states.
RecordFormat record_format(const ModelConfig& base, uint64_t fingerprint, const RecordOptions& options,
                           RecordStates states);

// One sequence. Halfs are bit patterns.
struct BaseRecord {
  std::vector<uint16_t> kv;                  // [layers, 2, length, kv_heads, head_dim]
  std::vector<int32_t> soft_tokens;          // [length, soft]
  std::vector<uint16_t> soft_probabilities;  // [length, soft], 0 where the base was not asked
  std::vector<uint16_t> states;              // [length, d_model] likewise, or empty
};

// Collects, row by row, what a record holds beside keys and values.
class RecordRows {
 public:
  // The base's output at the next row. `log_sum`: the logarithm of the sum of exp(logits); `hidden` [d_model] before
  // the output norm, read if the format has states.
  void add(const RecordFormat& format, std::span<const float> logits, float log_sum, std::span<const float> hidden,
           float norm_eps);
  // Of a sequence of `length` positions whose first row given to add() was row `first`; keys and values as in
  // recorded_kv().
  BaseRecord record(KvCache& cache, SeqId seq, const RecordFormat& format, int first, int length) const;

 private:
  std::vector<int32_t> tokens_;
  std::vector<uint16_t> probabilities_, states_;  // halfs
};

// The most probable tokens of one row of logits, most probable first, and their probabilities. `log_sum`: the
// logarithm of the sum of exp(logits).
void top_tokens(std::span<const float> logits, float log_sum, std::span<int32_t> tokens,
                std::span<float> probabilities);

// log(sum(exp(logits))) of each row of logits, [rows, vocab].
std::vector<float> log_sums(std::span<const float> logits, int vocab);

// Keys and values of the committed positions of `seq`, zeros for the rest up to `length`. The cache must be F16.
std::vector<uint16_t> recorded_kv(KvCache& cache, SeqId seq, const RecordFormat& format, int length);

// Appends records. What a killed run left behind the last line of text is never read, so resuming needs no repair.
class RecordWriter {
 public:
  // Error: the file cannot be written, or holds records of another format.
  Status open(const std::string& path, const RecordFormat& format);
  // Where the record begins, for the line of text. Error: the disk is full.
  Result<int64_t> append(const BaseRecord& record);

 private:
  std::string path_;
  std::ofstream out_;
};

// Reads records.
class RecordReader {
 public:
  // A file that holds more than `format` asks for is read too: more states or soft targets (read() gives all of them),
  // and any layers where none are asked for (read() leaves them out). Error: the file cannot be read or lacks
  // something (says both).
  static Result<RecordReader> open(const std::string& path, const RecordFormat& format);
  // Error: the file is too short for a record of `length` positions at `at`.
  Result<BaseRecord> read(int64_t at, int length);

 private:
  std::string path_;
  RecordFormat format_;  // of the file
  bool with_kv_ = true;
  std::unique_ptr<std::ifstream> in_;
};

// Name of the file that lies beside a text file.
std::string record_path(const std::string& data_path);

}  // namespace s3d::train
