#include "train/record_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/index.h"
#include "model/fingerprint.h"
#include "train/device_copy.h"

namespace s3d::train {
namespace {

constexpr int64_t kHalf = 2;              // bytes
constexpr int64_t kTokensAtOnce = 16384;  // of a pass of the base on a GPU: 2 GB of activations and attention weights
constexpr int64_t kLogitsAtOnce = 2048;   // rows; of a vocabulary of 150k their logits take 1.2 GB, three times

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
  if (options.folder.empty()) store.home_ = base.device;
  store.first_ = {0};
  for (const Sequence& sequence : data.sequences) store.first_.push_back(store.first_.back() + sequence.length());
  const Tensor first = torch::tensor(store.first_);
  store.starts_ = first.slice(0, 0, -1).to(store.home_);
  store.lasts_ = (first.slice(0, 1) - 1).to(store.home_);
  if (options.folder.empty()) {
    store.allocate(base, options);
    S3D_TRY(store.fill(base, data, options));
    return store;
  }
  S3D_ASSIGN(const bool complete, store.open_file(base, data, options));
  if (complete) return store;
  S3D_TRY(store.fill(base, data, options));
  const std::string label = read_text(options.folder + "/records.wanted");
  S3D_TRY(write_file_atomically(options.folder + "/records.done", std::as_bytes(std::span(label))));
  return store;
}

void RecordStore::allocate(const BaseModel& base, const RecordStoreOptions& options) {
  const ModelConfig& config = base.config;
  const torch::TensorOptions halfs = torch::TensorOptions(torch::kHalf).device(home_);
  kv_ = torch::empty({options.layers.count(), 2, tokens(), config.n_kv_heads, config.head_dim}, halfs);
  if (options.states != RecordStates::kNone) state_ = torch::empty({tokens(), config.d_model}, halfs);
  if (options.soft_targets == 0) return;
  soft_tokens_ = torch::empty({tokens(), options.soft_targets}, halfs.dtype(torch::kInt));
  soft_probabilities_ = torch::empty({tokens(), options.soft_targets}, halfs);
}

// Maps the file; true if it holds the finished store of the same base, data and options.
Result<bool> RecordStore::open_file(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options) {
  std::error_code failed;
  std::filesystem::create_directories(options.folder, failed);
  if (failed) return Error{fmt::format("cannot make the folder {}: {}", options.folder, failed.message())};
  const std::string path = options.folder + "/records.bin", done = options.folder + "/records.done";
  const Sizes sizes = sizes_of(base.config, options, tokens());
  const std::string label =
      fmt::format("by layers: {} data {:016x} layers {} {} states {} soft {} type {}",
                  fingerprint_text(base.fingerprint), data.hash, options.layers.first, options.layers.last,
                  static_cast<int>(options.states), options.soft_targets, toString(base.lm_head.scalar_type()));
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
    soft_tokens_ = take(sizes.soft_tokens, 4, torch::kInt).view({tokens(), options.soft_targets});
    soft_probabilities_ = take(sizes.soft_probabilities, kHalf, torch::kHalf).view({tokens(), options.soft_targets});
  }
  if (sizes.state > 0) state_ = take(sizes.state, kHalf, torch::kHalf).view({tokens(), base.config.d_model});
  kv_ = take(sizes.kv, kHalf, torch::kHalf)
            .view({options.layers.count(), 2, tokens(), base.config.n_kv_heads, base.config.head_dim});
  return complete;
}

// Those of `left` that the base is run over at once: of about the same length, or each alone.
static std::vector<std::vector<int>> batches_of(const Dataset& data, std::vector<int> left, int64_t tokens_at_once) {
  const auto length = [&](int s) { return int64_t{data.sequences[static_cast<size_t>(s)].length()}; };
  if (tokens_at_once > 0) {
    std::stable_sort(left.begin(), left.end(), [&](int a, int b) { return length(a) < length(b); });
  }
  std::vector<std::vector<int>> batches;
  for (const int s : left) {
    const bool fits =
        !batches.empty() && (static_cast<int64_t>(batches.back().size()) + 1) * length(s) <= tokens_at_once;
    if (!fits) batches.emplace_back();
    batches.back().push_back(s);
  }
  return batches;
}

// From the records in files, and the rest by passes of the base.
Status RecordStore::fill(const BaseModel& base, const Dataset& data, const RecordStoreOptions& options) {
  const torch::NoGradGuard no_grad;
  const RecordFormat format =
      record_format(base.config, base.fingerprint,
                    {.layers = options.layers, .soft = options.soft_targets, .states = true}, options.states);
  std::map<int, RecordReader> readers;  // by index of the file
  std::vector<int> left;
  int64_t done = 0;
  const auto tell = [&](int s) {
    done += data.sequences[static_cast<size_t>(s)].length();
    if (options.progress) options.progress(done, tokens());
  };
  for (int s = 0; s < isize(data.sequences); ++s) {
    const Sequence& sequence = data.sequences[static_cast<size_t>(s)];
    if (sequence.record_at < 0) {
      left.push_back(s);
      continue;
    }
    auto reader = readers.find(sequence.file);
    if (reader == readers.end()) {
      S3D_ASSIGN(RecordReader opened,
                 RecordReader::open(record_path(data.files[static_cast<size_t>(sequence.file)]), format));
      reader = readers.emplace(sequence.file, std::move(opened)).first;
    }
    S3D_ASSIGN(const BaseRecord record, reader->second.read(sequence.record_at, sequence.length()));
    take(record, s);
    tell(s);
  }
  const int64_t at_once = options.tokens_at_once > 0 ? options.tokens_at_once : device_.is_cpu() ? 0 : kTokensAtOnce;
  for (const std::vector<int>& batch : batches_of(data, std::move(left), at_once)) {
    compute(base, data, batch, options);
    for (const int s : batch) tell(s);
  }
  return Ok();
}

void RecordStore::take(const BaseRecord& record, int index) {
  const auto s = static_cast<size_t>(index);
  const auto view = [](const auto& values, torch::ScalarType type) {
    return torch::from_blob(const_cast<void*>(static_cast<const void*>(values.data())),
                            {static_cast<int64_t>(values.size())}, type);
  };
  const int64_t begin = first_[s], end = first_[s + 1];
  const Tensor kv = kv_.slice(2, begin, end);
  kv.copy_(view(record.kv, torch::kHalf).view(kv.sizes()));
  if (state_.defined()) state_.slice(0, begin, end).copy_(view(record.states, torch::kHalf).view({end - begin, -1}));
  if (!soft_tokens_.defined()) return;
  const int64_t wanted = soft_tokens_.size(1);
  const auto copy = [&](const Tensor& to, const Tensor& from) {
    to.slice(0, begin, end).copy_(from.view({end - begin, -1}).slice(1, 0, wanted));
  };
  copy(soft_tokens_, view(record.soft_tokens, torch::kInt));
  copy(soft_probabilities_, view(record.soft_probabilities, torch::kHalf));
}

// One pass over sequences that are filled up at their ends to the same length.
void RecordStore::compute(const BaseModel& base, const Dataset& data, std::span<const int> sequences,
                          const RecordStoreOptions& options) {
  int64_t length = 0;
  for (const int s : sequences) length = std::max<int64_t>(length, data.sequences[static_cast<size_t>(s)].length());
  const auto count = static_cast<int64_t>(sequences.size());
  std::vector<int64_t> ids(static_cast<size_t>(count * length)), rows,
      places;  // rows: of the pass; places: in the store
  for (int64_t i = 0; i < count; ++i) {
    const auto s = static_cast<size_t>(sequences[static_cast<size_t>(i)]);
    const std::vector<int32_t>& tokens = data.sequences[s].tokens;
    std::copy(tokens.begin(), tokens.end(), ids.begin() + i * length);
    for (int64_t t = 0; t < isize(tokens); ++t) {
      rows.push_back(i * length + t);
      places.push_back(first_[s] + t);
    }
  }
  const Tensor row = torch::tensor(rows).to(base.device), place = torch::tensor(places).to(home_);
  const auto put = [&](const Tensor& to, const Tensor& from) {
    to.index_copy_(0, place, from.index_select(0, row).to(to.options()));
  };
  const Tensor hidden =
      base_forward(base, torch::tensor(ids).view({count, length}).to(base.device), [&](int layer, const LayerKv& kv) {
        const int n_layers = base.config.n_layers;
        if (!options.layers.has(layer, n_layers)) return;
        const int at = layer < options.layers.first ? layer : layer - (n_layers - options.layers.count());
        put(kv_.select(0, at).select(0, 0), kv.keys);
        put(kv_.select(0, at).select(0, 1), kv.values);
      });
  for (int64_t i = 0; options.on_hidden && i < count; ++i) {
    const Sequence& sequence = data.sequences[static_cast<size_t>(sequences[static_cast<size_t>(i)])];
    options.on_hidden(sequence, hidden.slice(0, i * length, i * length + sequence.length()));
  }
  if (state_.defined()) put(state_, rms_norm(hidden, {}, base.config.norm_eps));
  if (soft_tokens_.defined()) compute_soft(base, hidden.index_select(0, row), place);
}

// Of rows of hidden states [n, d_model] that belong to `place` [n].
void RecordStore::compute_soft(const BaseModel& base, const Tensor& hidden, const Tensor& place) {
  for (int64_t begin = 0; begin < hidden.size(0); begin += kLogitsAtOnce) {
    const Tensor logits = base_logits(base, hidden.slice(0, begin, begin + kLogitsAtOnce));
    const auto [probabilities, tokens] = logits.softmax(-1).topk(soft_tokens_.size(1), -1);
    const Tensor to = place.slice(0, begin, begin + kLogitsAtOnce);
    soft_tokens_.index_copy_(0, to, tokens.to(soft_tokens_.options()));
    soft_probabilities_.index_copy_(0, to, probabilities.to(soft_probabilities_.options()));
  }
}

// Indices in the arrays of `positions` [S, ...] of sequences [S]; those beyond the end of one count as its last.
Tensor RecordStore::token_index(std::span<const int> sequences, const Tensor& positions) const {
  const Tensor which = to_device(torch::tensor(std::vector<int64_t>(sequences.begin(), sequences.end())), home_);
  std::vector<int64_t> shape(static_cast<size_t>(positions.dim()), 1);
  shape[0] = -1;
  const Tensor index = starts_.index_select(0, which).view(shape) + positions.to(home_);
  return torch::minimum(index, lasts_.index_select(0, which).view(shape));
}

std::function<LayerKv(int index)> RecordStore::context(std::span<const int> sequences, int64_t length) const {
  const auto n = static_cast<int64_t>(sequences.size());
  const Tensor positions = torch::arange(length, starts_.options()).expand({n, length});
  const Tensor index = token_index(sequences, positions).flatten();
  return [this, index, shape = std::vector<int64_t>{2, n, length, kv_.size(3), kv_.size(4)}](int layer) {
    const Tensor kv = kv_.select(0, layer).index_select(1, index).to(device_).to(torch::kFloat32).view(shape);
    return LayerKv{kv[0], kv[1]};
  };
}

Tensor RecordStore::state(std::span<const int> sequences, const Tensor& positions) const {
  S3D_CHECK(state_.defined(), "a store of records without states");
  const Tensor index = token_index(sequences, (positions - 1).clamp_min(0));
  const Tensor rows = state_.index_select(0, index.flatten()).to(device_, torch::kFloat32);
  const Tensor known = (positions.to(device_) > 0).to(torch::kFloat32).unsqueeze(-1);
  return rows.view({positions.size(0), positions.size(1), -1}) * known;
}

RecordStore::SoftTargets RecordStore::soft_targets(std::span<const int> sequences, const Tensor& positions) const {
  S3D_CHECK(soft_tokens_.defined(), "a store of records without soft targets");
  const Tensor index = token_index(sequences, positions).flatten();
  std::vector<int64_t> shape(positions.sizes().begin(), positions.sizes().end());
  shape.push_back(soft_tokens_.size(1));
  return {soft_tokens_.index_select(0, index).to(device_, torch::kLong).view(shape),
          soft_probabilities_.index_select(0, index).to(device_, torch::kFloat32).view(shape)};
}

}  // namespace s3d::train
