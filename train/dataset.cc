#include "train/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/text_file.h"
#include "train/keyed_random.h"
#include "train/text_lines.h"

namespace s3d::train {
namespace {

using nlohmann::json;

// Appends the ids of `object[key]`; returns what is wrong with them, if anything.
std::optional<std::string> append_ids(const json& object, const char* key, int vocab_size, std::vector<int32_t>& out) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return fmt::format("\"{}\" must be an array of token ids", key);
  for (const json& value : *found) {
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id < 0 || id >= vocab_size) {
      return fmt::format("\"{}\" holds {}, expected token ids of 0 to {}: is the data for another model?", key,
                         value.dump().substr(0, 40), vocab_size - 1);
    }
    out.push_back(static_cast<int32_t>(id));
  }
  return std::nullopt;
}

uint64_t hash_of(const std::vector<Sequence>& sequences) {
  uint64_t hash = keyed(1, sequences.size());
  for (const Sequence& sequence : sequences) {
    hash = keyed(hash, sequence.prompt_length, sequence.tokens.size());
    for (const int32_t token : sequence.tokens) hash = splitmix64(hash ^ static_cast<uint64_t>(token));
  }
  return hash;
}

Status read_file(const std::string& path, int file, int vocab_size, int max_length, Dataset& data) {
  S3D_ASSIGN(TextLines lines, TextLines::open(path));
  std::string line;
  for (int number = 1;; ++number) {
    S3D_ASSIGN(const bool there, lines.next(line));
    if (!there) return Ok();
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const json object = json::parse(number == 1 ? without_byte_order_mark(line) : line, nullptr,
                                    /*allow_exceptions=*/false);
    if (!object.is_object()) return Error{fmt::format("{}:{}: expected a JSON object", path, number)};
    if (number == 1 && object.contains("text_of")) continue;
    Sequence sequence{};
    sequence.file = file;
    auto wrong = append_ids(object, "prompt_tokens", vocab_size, sequence.tokens);
    sequence.prompt_length = sequence.length();
    if (!wrong) wrong = append_ids(object, "answer_tokens", vocab_size, sequence.tokens);
    if (wrong) return Error{fmt::format("{}:{}: {}", path, number, *wrong)};
    const auto run = object.find("run");
    if (run != object.end() && run->is_string()) data.runs.insert(run->get<std::string>());
    const auto at = object.find("record_at");
    sequence.record_at = at != object.end() && at->is_number_integer() ? at->get<int64_t>() : -1;
    if (sequence.length() > max_length) {
      sequence.tokens.resize(static_cast<size_t>(max_length));
      sequence.record_at = -1;  // its record has another shape
    }
    if (sequence.prompt_length >= 1 && sequence.answer_length() >= 2) data.sequences.push_back(std::move(sequence));
  }
}

}  // namespace

int64_t Dataset::tokens() const {
  int64_t total = 0;
  for (const Sequence& sequence : sequences) total += sequence.length();
  return total;
}

int64_t Dataset::answer_tokens() const {
  int64_t total = 0;
  for (const Sequence& sequence : sequences) total += sequence.answer_length();
  return total;
}

Result<Dataset> read_dataset(const std::vector<std::string>& paths, int vocab_size, int max_length) {
  Dataset data;
  data.files = paths;
  for (size_t file = 0; file < paths.size(); ++file) {
    S3D_TRY(read_file(paths[file], static_cast<int>(file), vocab_size, max_length, data));
  }
  if (data.sequences.empty()) {
    return Error{fmt::format("{}: no sequence has a prompt and at least two answer tokens within {} tokens",
                             fmt::join(paths, ", "), max_length)};
  }
  data.hash = hash_of(data.sequences);
  return data;
}

std::string pack_text(const Dataset& data, const TextOrigin& origin) {
  const json first = {{"text_of", origin.model},
                      {"fingerprint", origin.fingerprint},
                      {"runs", data.runs},
                      {"sequences", data.sequences.size()},
                      {"answer_tokens", data.answer_tokens()},
                      {"note", origin.note}};
  std::string text = first.dump() + "\n";
  for (const Sequence& sequence : data.sequences) {
    const auto middle = sequence.tokens.begin() + sequence.prompt_length;
    const json line = {{"prompt_tokens", std::vector<int32_t>(sequence.tokens.begin(), middle)},
                       {"answer_tokens", std::vector<int32_t>(middle, sequence.tokens.end())}};
    text += line.dump() + "\n";
  }
  return compressed(text);
}

std::vector<int32_t> frequent_tokens(const Dataset& data, int vocab_size, int size) {
  std::vector<int64_t> counts(static_cast<size_t>(vocab_size));
  for (const Sequence& sequence : data.sequences) {
    for (int i = sequence.prompt_length; i < sequence.length(); ++i) {
      ++counts[static_cast<size_t>(sequence.tokens[static_cast<size_t>(i)])];
    }
  }
  std::vector<int32_t> ids(static_cast<size_t>(vocab_size));
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)];
  });
  ids.resize(static_cast<size_t>(std::min(size, vocab_size)));
  return ids;
}

}  // namespace s3d::train
