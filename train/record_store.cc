#include "train/record_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/atomic_file.h"
#include "base/check.h"
#include "model/fingerprint.h"
#include "train/keyed_random.h"

namespace s3d::train {
namespace {

constexpr int64_t kHalf = 2;  // bytes

// A file of that size whose blocks are really there: writing to a mapped file on a full disk would kill the process.
Status reserve_file(const std::string& path, int64_t bytes) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return Error{fmt::format("cannot create {}: {}", path, std::strerror(errno))};
  const int code = ::posix_fallocate(fd, 0, bytes);
  ::close(fd);
  if (code == 0) return Ok();
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return Error{fmt::format("cannot reserve {:.1f} GB for {}: {}; choose another --record-folder or less data",
                           static_cast<double>(bytes) / 1e9, path, std::strerror(code))};
}

std::string read_text(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  std::getline(in, text);
  return text;
}

// The arrays of a store in one run of bytes.
struct Sizes {
  int64_t kv, state, soft_tokens, soft_probabilities;  // numbers
  int64_t bytes() const { return kHalf * (kv + state + soft_probabilities) + 4 * soft_tokens; }
};

Sizes sizes_of(const ModelConfig& config, const RecordStoreOptions& options, int64_t tokens) {
  return {tokens * options.layers.count() * 2 * config.kv_dim(),
          options.states == RecordStates::kNone ? 0 : tokens * config.d_model, tokens * options.soft_targets,
          tokens * options.soft_targets};
}

}  // namespace

size_t RecordStore::bytes_per_token(const ModelConfig& config, const RecordStoreOptions& options) {
  return static_cast<size_t>(sizes_of(config, options, 1).bytes());
}

Result<RecordStore> RecordStore::build(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options) {
  RecordStore store;
  store.device_ = base.device;
  store.layers_ = options.layers.count();
  store.kv_heads_ = base.config.n_kv_heads;
  store.head_dim_ = base.config.head_dim;
  store.first_ = {0};
  for (const Sequence& sequence : data.sequences) store.first_.push_back(store.first_.back() + sequence.length());
  if (!options.folder.empty()) {
    S3D_ASSIGN(const bool complete, store.open_file(base, data, options));
    if (complete) return store;
  } else {
    const Sizes sizes = sizes_of(base.config, options, store.first_.back());
    store.kv_ = torch::empty({sizes.kv}, torch::kHalf);
    const int64_t tokens = store.first_.back();
    if (sizes.state > 0) store.state_ = torch::empty({tokens, base.config.d_model}, torch::kHalf);
    if (options.soft_targets > 0) {
      store.soft_tokens_ = torch::empty({tokens, options.soft_targets}, torch::kInt);
      store.soft_probabilities_ = torch::empty({tokens, options.soft_targets}, torch::kHalf);
    }
  }
  S3D_TRY(store.fill(base, data, options));
  if (!options.folder.empty()) {
    const std::string label = read_text(options.folder + "/records.wanted");
    S3D_TRY(write_file_atomically(options.folder + "/records.done", std::as_bytes(std::span(label))));
  }
  return store;
}

// Maps the file; true if it holds the finished store of the same base, data and options.
Result<bool> RecordStore::open_file(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options) {
  std::error_code failed;
  std::filesystem::create_directories(options.folder, failed);
  if (failed) return Error{fmt::format("cannot make the folder {}: {}", options.folder, failed.message())};
  const std::string path = options.folder + "/records.bin", done = options.folder + "/records.done";
  const int64_t tokens = first_.back();
  const Sizes sizes = sizes_of(base.config, options, tokens);
  const std::string label =
      fmt::format("{} data {:016x} layers {} {} states {} soft {} type {}", fingerprint_text(base.fingerprint),
                  data.hash, options.layers.first, options.layers.last, static_cast<int>(options.states),
                  options.soft_targets, toString(base.lm_head.scalar_type()));
  const bool complete = read_text(done) == label &&
                        std::filesystem::file_size(path, failed) == static_cast<uintmax_t>(sizes.bytes()) && !failed;
  if (!complete) {
    std::filesystem::remove(done, failed);
    S3D_TRY(reserve_file(path, sizes.bytes()));
    S3D_TRY(write_file_atomically(options.folder + "/records.wanted", std::as_bytes(std::span(label))));
  }
  const Tensor all = torch::from_file(path, /*shared=*/true, sizes.bytes(), torch::kUInt8);
  int64_t at = 0;
  const auto take = [&](int64_t numbers, int64_t width, torch::ScalarType type) {
    const int64_t begin = at;
    at += numbers * width;
    return all.slice(0, begin, at).view(type);
  };
  if (options.soft_targets > 0) {
    soft_tokens_ = take(sizes.soft_tokens, 4, torch::kInt).view({tokens, options.soft_targets});
    soft_probabilities_ = take(sizes.soft_probabilities, kHalf, torch::kHalf).view({tokens, options.soft_targets});
  }
  if (sizes.state > 0) state_ = take(sizes.state, kHalf, torch::kHalf).view({tokens, base.config.d_model});
  kv_ = take(sizes.kv, kHalf, torch::kHalf);
  return complete;
}

Tensor RecordStore::kv_of(int sequence) const {
  const auto s = static_cast<size_t>(sequence);
  const int64_t per_token = layers_ * 2 * kv_heads_ * head_dim_, length = first_[s + 1] - first_[s];
  return kv_.slice(0, first_[s] * per_token, first_[s + 1] * per_token)
      .view({layers_, 2, length, kv_heads_, head_dim_});
}

// Sequence by sequence: from the records in a file, or by a pass of the base.
Status RecordStore::fill(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options) {
  const torch::NoGradGuard no_grad;
  const RecordFormat format =
      record_format(base.config, base.fingerprint,
                    {.layers = options.layers, .soft = options.soft_targets, .states = true}, options.states);
  std::map<int, RecordReader> readers;  // by index of the file
  for (size_t s = 0; s < data.sequences.size(); ++s) {
    const Sequence& sequence = data.sequences[s];
    if (sequence.record_at < 0) {
      compute(base, sequence, static_cast<int>(s), options);
    } else {
      auto reader = readers.find(sequence.file);
      if (reader == readers.end()) {
        S3D_ASSIGN(RecordReader opened,
                   RecordReader::open(record_path(data.files[static_cast<size_t>(sequence.file)]), format));
        reader = readers.emplace(sequence.file, std::move(opened)).first;
      }
      S3D_ASSIGN(const BaseRecord record, reader->second.read(sequence.record_at, sequence.length()));
      take(record, static_cast<int>(s));
    }
    if (options.progress) options.progress(first_[s + 1], first_.back());
  }
  return Ok();
}

void RecordStore::take(const BaseRecord& record, int index) {
  const auto s = static_cast<size_t>(index);
  const auto view = [](const auto& values, torch::ScalarType type) {
    return torch::from_blob(const_cast<void*>(static_cast<const void*>(values.data())),
                            {static_cast<int64_t>(values.size())}, type);
  };
  const int64_t length = first_[s + 1] - first_[s];
  kv_of(index).view({-1}).copy_(view(record.kv, torch::kHalf));
  if (state_.defined()) {
    state_.slice(0, first_[s], first_[s + 1]).copy_(view(record.states, torch::kHalf).view({length, -1}));
  }
  if (!soft_tokens_.defined()) return;
  const int64_t wanted = soft_tokens_.size(1);
  const auto copy = [&](const Tensor& to, const Tensor& from) {
    to.slice(0, first_[s], first_[s + 1]).copy_(from.view({length, -1}).slice(1, 0, wanted));
  };
  copy(soft_tokens_, view(record.soft_tokens, torch::kInt));
  copy(soft_probabilities_, view(record.soft_probabilities, torch::kHalf));
}

void RecordStore::compute(const BaseModel& base, const Sequence& sequence, int index,
                          const RecordStoreOptions& options) {
  const int n_layers = base.config.n_layers;
  const auto s = static_cast<size_t>(index);
  const Tensor all = kv_of(index);
  const Tensor hidden = base_forward(base, token_tensor(base, sequence.tokens), [&](int layer, const LayerKv& kv) {
    if (!options.layers.has(layer, n_layers)) return;
    const int at = layer < options.layers.first ? layer : layer - (n_layers - options.layers.count());
    all.select(0, at).select(0, 0).copy_(kv.keys);
    all.select(0, at).select(0, 1).copy_(kv.values);
  });
  if (options.on_hidden) options.on_hidden(sequence, hidden);
  if (state_.defined()) state_.slice(0, first_[s], first_[s + 1]).copy_(rms_norm(hidden, {}, base.config.norm_eps));
  if (soft_tokens_.defined()) {
    const auto [probabilities, ids_of] = base_logits(base, hidden).softmax(-1).topk(options.soft_targets, -1);
    soft_tokens_.slice(0, first_[s], first_[s + 1]).copy_(ids_of);
    soft_probabilities_.slice(0, first_[s], first_[s + 1]).copy_(probabilities);
  }
}

LayerKv RecordStore::kv(int index, std::span<const int> sequences, int64_t length) const {
  const auto n = static_cast<int64_t>(sequences.size());
  LayerKv out = {torch::zeros({n, length, kv_heads_, head_dim_}), torch::zeros({n, length, kv_heads_, head_dim_})};
  for (int64_t i = 0; i < n; ++i) {
    const Tensor kv = kv_of(sequences[static_cast<size_t>(i)]).select(0, index);
    const int64_t there = std::min(length, kv.size(1));
    out.keys[i].slice(0, 0, there).copy_(kv[0].slice(0, 0, there));
    out.values[i].slice(0, 0, there).copy_(kv[1].slice(0, 0, there));
  }
  if (device_ != torch::kCPU) out = {out.keys.to(device_), out.values.to(device_)};
  return out;
}

// Index in the store's token arrays of position `at` of each sequence. at: [S, ...].
static Tensor token_index(const std::vector<int64_t>& first, std::span<const int> sequences, const Tensor& at) {
  std::vector<int64_t> starts;
  for (const int sequence : sequences) starts.push_back(first[static_cast<size_t>(sequence)]);
  std::vector<int64_t> shape(static_cast<size_t>(at.dim()), 1);
  shape[0] = static_cast<int64_t>(starts.size());
  return at.to(torch::kCPU) + torch::tensor(starts).view(shape);
}

Tensor RecordStore::state(std::span<const int> sequences, const Tensor& positions) const {
  S3D_CHECK(state_.defined(), "a store of records without states");
  const Tensor index = token_index(first_, sequences, (positions - 1).clamp_min(0));
  const Tensor rows = state_.index_select(0, index.flatten()).to(device_, torch::kFloat32);
  const Tensor known = (positions > 0).to(torch::kFloat32).unsqueeze(-1);
  return rows.view({positions.size(0), positions.size(1), -1}) * known;
}

RecordStore::SoftTargets RecordStore::soft_targets(std::span<const int> sequences, const Tensor& positions) const {
  S3D_CHECK(soft_tokens_.defined(), "a store of records without soft targets");
  const Tensor index = token_index(first_, sequences, positions).flatten();
  std::vector<int64_t> shape(positions.sizes().begin(), positions.sizes().end());
  shape.push_back(soft_tokens_.size(1));
  return {soft_tokens_.index_select(0, index).to(device_, torch::kLong).view(shape),
          soft_probabilities_.index_select(0, index).to(device_, torch::kFloat32).view(shape)};
}

}  // namespace s3d::train
