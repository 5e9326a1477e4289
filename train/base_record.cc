#include "train/base_record.h"

#include <fmt/format.h>
#include <ggml.h>
#include <torch/torch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/check.h"
#include "base/softmax.h"
#include "model/fingerprint.h"

namespace s3d::train {
namespace {

constexpr float kFar = 20;  // a token e^20 times less probable than the best is of no use as a target

std::string read_label(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string label(RecordFormat::kHeaderBytes, '\0');
  in.read(label.data(), static_cast<std::streamsize>(label.size()));
  return in ? label.substr(0, label.find('\0')) : "";
}

constexpr std::string_view kAllStates = " of all";

// The number after `word` in a label; 0 if it says nothing of it.
int number_after(std::string_view label, std::string_view word) {
  const size_t at = label.find(word);
  int number = 0;
  if (at != std::string::npos) std::from_chars(label.data() + at + word.size(), label.data() + label.size(), number);
  return number;
}

// What a file of that label holds, if it is of the base of `like`.
RecordFormat format_of(std::string_view label, RecordFormat like) {
  const size_t at = label.find(" recorded "), plus = label.find('+', at);
  like.layers.first = number_after(label, " recorded ");
  like.layers.last = plus == std::string_view::npos ? 0 : number_after(label.substr(plus), "+");
  like.soft = number_after(label, " soft ");
  const bool states = number_after(label, " states ") > 0;
  like.states = !states                       ? RecordStates::kNone
                : label.ends_with(kAllStates) ? RecordStates::kAll
                                              : RecordStates::kAnswer;
  return like;
}

bool serves(const RecordFormat& there, const RecordFormat& wanted) {
  const bool same_layers = there.layers.first == wanted.layers.first && there.layers.last == wanted.layers.last;
  return (wanted.layers.count() == 0 || same_layers) && there.soft >= wanted.soft && there.states >= wanted.states;
}

// Of a file whose label is `there`.
Error wrong_format(const std::string& path, const std::string& there, const RecordFormat& format) {
  if (there.empty()) {
    return Error{
        fmt::format("{} is missing or no file of base records, but its text refers to it; make both anew with "
                    "`s3d-train record`",
                    path)};
  }
  return Error{fmt::format(
      "{} is of another base, of other layers, of fewer soft targets or of fewer states; remove it, ask for "
      "what it holds, or make another with `s3d-train record`.\n  there: {}\n"
      "  here:  {}",
      path, there, format.label())};
}

struct Candidate {
  float logit;
  int32_t token;
};

// The `count` largest logits, largest first, of equal ones the first. Most blocks hold none of them: one look tells.
std::vector<Candidate> most_probable(std::span<const float> logits, size_t count) {
  constexpr size_t kBlock = 64;
  std::vector<Candidate> best;
  const auto enters = [&](float logit) { return best.size() < count || (count > 0 && logit > best.back().logit); };
  const auto look = [&](size_t i) {
    if (!enters(logits[i])) return;
    if (best.size() == count) best.pop_back();
    const auto larger = [](float logit, const Candidate& c) { return logit > c.logit; };
    best.insert(std::upper_bound(best.begin(), best.end(), logits[i], larger), {logits[i], static_cast<int32_t>(i)});
  };
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits.size());
    if (!enters(softmax::largest_of(logits.subspan(begin, end - begin)))) continue;
    for (size_t i = begin; i < end; ++i) look(i);
  }
  return best;
}

template <typename T>
std::span<char> bytes_of(std::vector<T>& values) {
  return {reinterpret_cast<char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

std::string record_path(const std::string& data_path) {
  return data_path + ".records";
}

RecordFormat record_format(const ModelConfig& base, uint64_t fingerprint, const RecordOptions& options,
                           RecordStates states) {
  return {.fingerprint = fingerprint,
          .n_layers = base.n_layers,
          .n_kv_heads = base.n_kv_heads,
          .head_dim = base.head_dim,
          .layers = options.layers,
          .soft = options.soft,
          .d_model = base.d_model,
          .states = options.states ? states : RecordStates::kNone};
}

std::string RecordFormat::label() const {
  return fmt::format("s3d-records 1 base {} layers {} kv {}x{} recorded {}+{} soft {}{}{}",
                     fingerprint_text(fingerprint), n_layers, n_kv_heads, head_dim, layers.first, layers.last, soft,
                     states == RecordStates::kNone ? "" : fmt::format(" states {}", d_model),
                     states == RecordStates::kAll ? kAllStates : "");
}

void top_tokens(std::span<const float> logits, float log_sum, std::span<int32_t> tokens,
                std::span<float> probabilities) {
  const std::vector<Candidate> best = most_probable(logits, tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool near = i < best.size() && best[i].logit > best.front().logit - kFar;
    tokens[i] = near ? best[i].token : 0;
    probabilities[i] = near ? std::exp(best[i].logit - log_sum) : 0;
  }
}

std::vector<float> log_sums(std::span<const float> logits, int vocab) {
  if (logits.empty()) return {};
  const int64_t rows = static_cast<int64_t>(logits.size()) / vocab;
  const torch::Tensor all = torch::from_blob(const_cast<float*>(logits.data()), {rows, vocab});
  const torch::Tensor sums = all.logsumexp(-1);
  return {sums.data_ptr<float>(), sums.data_ptr<float>() + rows};
}

std::vector<uint16_t> recorded_kv(KvCache& cache, SeqId seq, const RecordFormat& format, int length) {
  const KvLayout& layout = cache.layout();
  S3D_CHECK(layout.type == KvType::kF16, "base records need a cache of half floats");
  const auto heads = static_cast<size_t>(format.n_kv_heads), dims = static_cast<size_t>(format.head_dim);
  const size_t plane = static_cast<size_t>(length) * heads * dims;  // of the keys, or the values, of a layer
  std::vector<uint16_t> out(static_cast<size_t>(format.kv_halfs(length)));
  for (int at = 0; at < std::min(length, cache.length(seq)); ++at) {
    const std::byte* page = cache.page(seq, at / KvLayout::kPageTokens);
    const int slot = at % KvLayout::kPageTokens;
    const auto copy = [&](const KvLayout::Place& from, size_t to) {
      for (size_t d = 0; d < dims; ++d) std::memcpy(&out[to + d], page + from.numbers + d * from.step, sizeof out[0]);
    };
    for (int i = 0; i < format.layers.count(); ++i) {
      const int layer = format.layers.layer(i, format.n_layers);
      for (int head = 0; head < format.n_kv_heads; ++head) {
        const size_t to = 2 * static_cast<size_t>(i) * plane + (static_cast<size_t>(at) * heads + head) * dims;
        copy(layout.key(layer, head, slot), to);
        copy(layout.value(layer, head, slot), to + plane);
      }
    }
  }
  return out;
}

void RecordRows::add(const RecordFormat& format, std::span<const float> logits, float log_sum,
                     std::span<const float> hidden, float norm_eps) {
  const auto k = static_cast<size_t>(format.soft), at = tokens_.size();
  std::vector<float> probabilities(k);
  tokens_.resize(at + k);
  top_tokens(logits, log_sum, std::span(tokens_).subspan(at), probabilities);
  for (const float probability : probabilities) probabilities_.push_back(ggml_fp32_to_fp16(probability));
  if (format.states == RecordStates::kNone) return;
  double squares = 0;
  for (const float value : hidden) squares += static_cast<double>(value) * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(hidden.size()) + norm_eps);
  for (const float value : hidden) states_.push_back(ggml_fp32_to_fp16(static_cast<float>(value * scale)));
}

BaseRecord RecordRows::record(KvCache& cache, SeqId seq, const RecordFormat& format, int first, int length) const {
  BaseRecord record = {.kv = recorded_kv(cache, seq, format, length)};
  const auto place = [&](const auto& rows, int64_t numbers, auto& out) {
    const auto width = static_cast<size_t>(numbers / length);
    out.resize(static_cast<size_t>(numbers));
    S3D_CHECK(rows.size() <= (static_cast<size_t>(length - first)) * width);
    std::copy(rows.begin(), rows.end(), out.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(first) * width));
  };
  place(tokens_, format.soft_numbers(length), record.soft_tokens);
  place(probabilities_, format.soft_numbers(length), record.soft_probabilities);
  place(states_, format.state_halfs(length), record.states);
  return record;
}

Status RecordWriter::open(const std::string& path, const RecordFormat& format) {
  path_ = path;
  std::error_code ignored;
  const bool there = std::filesystem::exists(path, ignored) && std::filesystem::file_size(path, ignored) > 0;
  if (there) {
    const std::string label = read_label(path);
    if (label != format.label()) return wrong_format(path, label, format);
  }
  out_.open(path, std::ios::app | std::ios::binary);
  std::string header = format.label();
  header.resize(RecordFormat::kHeaderBytes, '\0');
  if (!there) out_ << header << std::flush;
  if (!out_) return Error{fmt::format("cannot write {}", path)};
  return Ok();
}

Result<int64_t> RecordWriter::append(const BaseRecord& record) {
  out_.seekp(0, std::ios::end);
  const auto at = static_cast<int64_t>(out_.tellp());
  const auto write = [&](const auto& values) {
    out_.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(values[0])));
  };
  write(record.kv);
  write(record.soft_tokens);
  write(record.soft_probabilities);
  write(record.states);
  out_.flush();
  if (!out_) return Error{fmt::format("cannot write {}; is the disk full? The text before is good", path_)};
  return at;
}

Result<RecordReader> RecordReader::open(const std::string& path, const RecordFormat& format) {
  RecordReader reader;
  reader.path_ = path;
  const std::string there = read_label(path);
  reader.format_ = format_of(there, format);
  reader.with_kv_ = format.layers.count() > 0;
  if (there != reader.format_.label() || !serves(reader.format_, format)) return wrong_format(path, there, format);
  reader.in_ = std::make_unique<std::ifstream>(path, std::ios::binary);
  return reader;
}

Result<BaseRecord> RecordReader::read(int64_t at, int length) {
  BaseRecord record;
  const int64_t kv = format_.kv_halfs(length);
  if (with_kv_) record.kv.resize(static_cast<size_t>(kv));
  record.soft_tokens.resize(static_cast<size_t>(format_.soft_numbers(length)));
  record.soft_probabilities.resize(record.soft_tokens.size());
  record.states.resize(static_cast<size_t>(format_.state_halfs(length)));
  in_->clear();
  in_->seekg(with_kv_ ? at : at + kv * static_cast<int64_t>(sizeof(uint16_t)));
  for (const std::span<char> part : {bytes_of(record.kv), bytes_of(record.soft_tokens),
                                     bytes_of(record.soft_probabilities), bytes_of(record.states)}) {
    in_->read(part.data(), static_cast<std::streamsize>(part.size()));
  }
  if (!*in_) return Error{fmt::format("{}: no record of {} positions at byte {}", path_, length, at)};
  return record;
}

}  // namespace s3d::train
