// What a card does with the kernels: their bits against the CPU's, and their times. scripts/gpu-check runs it where a
// card is, and hands it what else was found there, so that all of it is one table and one JSON file; --device emulated
// tries the program where none is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/input_buffers.h"
#include "base/index.h"
#include "base/median.h"
#include "base/stopwatch.h"
#include "random_model.h"

namespace s3d {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string device = "card", json;
  std::string write_model;                  // file for the 1.5B model; nothing else is done then
  std::string checks, llama_bench, commit;  // of scripts/gpu-check
  bool probe = false;                       // only says which device there is
  bool small = false;                       // shapes for trying the program
  double seconds = 0.05;                    // of one timing
  double most = 1e9;                        // seconds, after which what is left of the timings is left out
  Stopwatch since_start;

  bool is_late(double part) const { return since_start.seconds() > part * most; }
};

// Median seconds of `body`, which starts work on the device, run together for about `seconds`, three times.
template <typename Body>
double time_of(cuda::Device& device, double seconds, Body body) {
  const auto run = [&](int times) {
    const Stopwatch watch;
    for (int i = 0; i < times; ++i) body(i);
    (void)device.synchronize();
    return watch.seconds();
  };
  run(1);
  const int times = std::clamp(static_cast<int>(seconds / std::max(run(2) / 2, 1e-7)), 1, 5000);
  std::vector<double> each;
  for (int i = 0; i < 3; ++i) each.push_back(run(times) / times);
  return median(each);
}

Json copy_speed(cuda::Device& device, const Options& o) {
  const size_t bytes = size_t{o.small ? 1U : 512U} << 20;
  cuda::Buffer<std::byte> from, to;
  if (!from.ensure(device, bytes) || !to.ensure(device, bytes)) return nullptr;
  const double seconds = time_of(device, o.seconds, [&](int) { device.copy(to.data(), from.data(), bytes); });
  const double speed = 2 * static_cast<double>(bytes) / seconds / 1e9;
  fmt::print("copy: {:.0f} GB/s read and written\n", speed);
  return speed;
}

// One product's times for 1 to 16 rows. The weights are read from memory: as many copies take turns as exceed any
// cache.
class ProductTimer {
 public:
  ProductTimer(cuda::Device& device, ggml_type type, int rows, int cols, const Options& o) : device_(device), o_(o) {
    std::vector<std::byte> blocks(ggml_row_size(type, cols) * usize(rows));
    fill_random_blocks(type, blocks, 7);
    const auto packed = PackedMatrix::pack(type, blocks.data(), usize(rows), usize(cols), nullptr).value();
    const size_t held = size_t{o.small ? 1U : 256U} << 20;
    do {
      copies_.push_back(upload(device, packed, nullptr).value());
    } while (copies_.size() * copies_[0].bytes() < held);
    const ActFormat format = copies_[0].format();
    std::vector<float> x(16 * usize(cols));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) - 8;
    ok_ = x_.assign(device, x) && y_.ensure(device, 16 * usize(rows)) && input_.ensure(device, format, 16, cols);
    const cuda::StoredInput stored = input_.input(cuda::InputBuffers::bit(format));
    device.kernels().rows(device.stream(), {.x = x_.data(), .n = 16, .cols = cols, .stored = stored});
    task_ = {.n_products = 1, .type = type, .cols = cols, .x = stored};
    task_.products[0] = {.rows = rows, .y = y_.data(), .ld = rows};
  }

  double seconds(int n) {
    task_.n = n;
    return time_of(device_, o_.seconds, [&](int i) {
      task_.products[0].weights = copies_[usize(i) % copies_.size()].weights.data();
      device_.kernels().matmul(device_.stream(), task_);
    });
  }
  size_t bytes() const { return copies_[0].bytes(); }
  bool ok() const { return ok_; }

 private:
  cuda::Device& device_;
  const Options& o_;
  std::vector<cuda::DeviceMatrix> copies_;
  cuda::Buffer<float> x_, y_;
  cuda::InputBuffers input_;
  cuda::MatmulTask task_;
  bool ok_ = false;
};

struct Shape {
  const char* name;
  ggml_type type;
  int rows, cols;
};

Json products(cuda::Device& device, const Options& o) {
  const std::vector<Shape> all = {
      {"1.5B wo", GGML_TYPE_Q4_K, 1536, 1536},   {"1.5B gate", GGML_TYPE_Q4_K, 8960, 1536},
      {"1.5B down", GGML_TYPE_Q4_K, 1536, 8960}, {"1.5B head", GGML_TYPE_Q6_K, 151936, 1536},
      {"1.5B gate", GGML_TYPE_Q8_0, 8960, 1536}, {"1.5B gate", GGML_TYPE_Q4_0, 8960, 1536},
      {"1.5B gate", GGML_TYPE_Q5_K, 8960, 1536}, {"1.5B gate", GGML_TYPE_F16, 8960, 1536},
      {"7B wo", GGML_TYPE_Q4_K, 3584, 3584},     {"7B gate", GGML_TYPE_Q4_K, 18944, 3584},
      {"7B down", GGML_TYPE_Q6_K, 3584, 18944}};
  const std::vector<Shape> tiny = {{"small", GGML_TYPE_Q4_K, 64, 512}};
  const std::vector<int> counts = o.small ? std::vector<int>{1, 9} : std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 12, 16};
  Json out = Json::array();
  fmt::print("\nproduct              type    GB/s  us({})  cost({})\n", counts[0], fmt::join(counts, " "));
  for (const Shape& shape : o.small ? tiny : all) {
    if (o.is_late(0.4)) {
      fmt::print("{:<20} and what follows: left out for lack of time\n", shape.name);
      break;
    }
    ProductTimer timer(device, shape.type, shape.rows, shape.cols, o);
    if (!timer.ok()) continue;
    std::vector<double> times, costs;
    for (const int n : counts) times.push_back(timer.seconds(n));
    for (const double t : times) costs.push_back(t / times[0]);
    const double speed = static_cast<double>(timer.bytes()) / times[0] / 1e9;
    fmt::print("{:<20} {:<5} {:>6.0f} {:>6.1f}  {:.2f}\n", shape.name, ggml_type_name(shape.type), speed,
               times[0] * 1e6, fmt::join(costs, " "));
    std::fflush(stdout);
    out.push_back({{"name", shape.name},
                   {"type", ggml_type_name(shape.type)},
                   {"rows", shape.rows},
                   {"cols", shape.cols},
                   {"gb_s", speed},
                   {"n", counts},
                   {"seconds", times}});
  }
  return out;
}

std::vector<Row> chain(const KvCache& kv, SeqId seq, int n, int vocab) {
  std::vector<Row> rows;
  for (int i = 0; i < n; ++i) rows.push_back({(i * 7919 + 13) % vocab, kv.length(seq) + i, i - 1, seq});
  return rows;
}

// Logits of `n` rows after a prompt.
std::vector<float> logits_of(Backend& backend, int prompt, int n) {
  KvCache kv = backend.make_kv_cache(KvType::kF16, 1024).value();
  const KvSequence seq = kv.add_sequence();
  const LayerSet layers = LayerSet::all(backend.config().n_layers);
  const std::vector<Row> first = chain(kv, seq, prompt, backend.config().vocab_size);
  if (!backend.run({.rows = first, .layers = layers}, kv).ok()) return {};
  kv.commit(seq, prompt);
  const std::vector<Row> rows = chain(kv, seq, n, backend.config().vocab_size);
  const std::vector<Want> want(rows.size(), Want::kLogits);
  const auto out = backend.run({.rows = rows, .layers = layers, .want = want}, kv);
  return out.ok() ? std::vector<float>(out->logits.begin(), out->logits.end()) : std::vector<float>();
}

// Times of whole passes: n rows after 512 positions, all with logits, and a prompt of 512.
Json passes(Backend& backend, cuda::Device& device, const Options& o) {
  Json out;
  KvCache kv = backend.make_kv_cache(KvType::kF16, 2048).value();
  const KvSequence seq = kv.add_sequence();
  const int vocab = backend.config().vocab_size, prompt = o.small ? 16 : 512;
  const LayerSet layers = LayerSet::all(backend.config().n_layers);
  const auto run = [&](int n, bool all) {
    const std::vector<Row> rows = chain(kv, seq, n, vocab);
    const std::vector<Want> want(all ? rows.size() : 0, Want::kLogits);
    (void)backend.run({.rows = rows, .layers = layers, .want = want}, kv);
  };
  const double prefill = time_of(device, o.seconds, [&](int) { run(prompt, false); });
  fmt::print("prefill of {}: {:.0f} tokens/s\n", prompt, prompt / prefill);
  out["prefill_tokens_s"] = prompt / prefill;
  run(prompt, false);
  kv.commit(seq, prompt);
  double one = 0;
  for (const int n : o.small ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 3, 4, 5, 6, 8, 12, 16}) {
    const double seconds = time_of(device, 4 * o.seconds, [&](int) { run(n, true); });
    if (n == 1) one = seconds;
    fmt::print("pass of {:>2} rows: {:8.3f} ms  cost {:.2f}{}\n", n, seconds * 1e3, seconds / one,
               n == 1 ? fmt::format("  ({:.0f} tokens/s, {:.0f} GB/s of weights)", 1 / seconds,
                                    static_cast<double>(backend.weight_bytes()) / seconds / 1e9)
                      : "");
    std::fflush(stdout);
    out["passes"].push_back({{"rows", n}, {"seconds", seconds}});
  }
  // A draft of 5 rows through two sevenths of the layers; without the matrices of an adapter.
  const int end_layers = std::max(1, backend.config().n_layers / 7);
  const double draft = time_of(device, 4 * o.seconds, [&](int) {
    const std::vector<Row> rows = chain(kv, seq, 5, vocab);
    const std::vector<Want> want(rows.size(), Want::kLogits);
    (void)backend.run({.rows = rows, .layers = {end_layers, end_layers}, .kv = KvUse::kScratch, .want = want}, kv);
  });
  fmt::print("draft of 5 rows through {} layers: {:.3f} ms, {:.2f} of a pass of one row\n", 2 * end_layers, draft * 1e3,
             draft / one);
  out["draft_seconds"] = draft;
  return out;
}

Json model(const std::shared_ptr<cuda::Device>& device, const RandomShape& shape, const Options& o) {
  fmt::print("\n{}, {}\n", shape.name, ggml_type_name(shape.type));
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  ThreadPool pool(threads);
  auto opened = GgufFile::from_bytes(random_model_image(shape), shape.name);
  const auto file = std::make_shared<const GgufFile>(std::move(opened).value());
  const auto loaded = std::make_shared<const Model>(load_model(file, read_model_config(*file).value(), pool).value());
  auto made = CudaBackend::create(loaded, device, &pool, 512);
  if (!made.ok()) {
    fmt::print("{}\n", made.error().message);
    return {{"error", made.error().message}};
  }
  Backend& backend = **made;
  const auto cpu = std::move(CpuBackend::create(loaded, threads, choose_kernels().value(), 512)).value();
  const std::vector<float> expected = logits_of(*cpu, 20, 5), got = logits_of(backend, 20, 5);
  const bool same = !expected.empty() && expected.size() == got.size() &&
                    std::memcmp(expected.data(), got.data(), got.size() * sizeof(float)) == 0;
  fmt::print("logits of 5 rows equal the CPU's bit by bit: {}\n", same ? "yes" : "NO");
  Json out = {{"name", shape.name}, {"same_bits", same}};
  out.update(passes(backend, *device, o));
  return out;
}

// What scripts/gpu-check found before: a line each of name, verdict and seconds.
Json checks_of(const std::string& path) {
  Json out = Json::array();
  std::ifstream file(path);
  std::string name, verdict;
  double seconds = 0;
  while (file >> name >> verdict >> seconds) {
    fmt::print("{:<24} {:<9} {:>4.0f} s\n", name, verdict, seconds);
    out.push_back({{"name", name}, {"verdict", verdict}, {"seconds", seconds}});
  }
  return out;
}

// The output of llama-bench on the 1.5B model, beside ours where there is the same.
Json llama_of(const std::string& path, const Json& model) {
  std::ifstream file(path);
  Json out = Json::array();
  const Json read = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!read.is_array()) return out;
  fmt::print("\nllama.cpp on the 1.5B model\n");
  for (const Json& run : read) {
    const int prompt = run.value("n_prompt", 0), generated = run.value("n_gen", 0), depth = run.value("n_depth", 0);
    const double speed = run.value("avg_ts", 0.0);
    std::string ours;
    for (const Json& pass : model.value("passes", Json::array())) {
      const int rows = pass.value("rows", 0);
      if (depth == 0 || rows != std::max(prompt, 1) || speed == 0) continue;
      ours = fmt::format("  S3D {:.2f} times that", rows / pass.value("seconds", 1.0) / speed);
    }
    fmt::print("{} {:>3} after {:>3}: {:>8.0f} tokens/s{}\n", prompt > 0 ? "rows" : "text", std::max(prompt, generated),
               depth, speed, ours);
    out.push_back({{"n_prompt", prompt}, {"n_gen", generated}, {"n_depth", depth}, {"tokens_s", speed}});
  }
  return out;
}

int write_model(const Options& o) {
  const std::vector<std::byte> image = random_model_image(o.small ? shape_small() : shape_1_5b());
  std::ofstream file(o.write_model, std::ios::binary);
  file.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  file.close();
  if (file) return 0;
  fmt::print(stderr, "gpu_check: {}: cannot be written ({} bytes)\n", o.write_model, image.size());
  return 1;
}

int check(const Options& o) {
  auto opened = o.device == "emulated" ? Result<std::unique_ptr<cuda::Device>>(cuda::make_emulated_device())
                                       : cuda::open_device();
  if (!opened.ok()) {
    fmt::print(stderr, "gpu_check: {}\n", opened.error().message);
    return 1;
  }
  const std::shared_ptr<cuda::Device> device = std::move(*opened);
  fmt::print("device: {}, {:.1f} GiB free\n", device->name(), static_cast<double>(device->free_bytes()) / (1 << 30));
  if (o.probe) return 0;
  Json out = {{"device", device->name()}, {"commit", o.commit}};
  const auto save = [&] {
    if (!o.json.empty()) std::ofstream(o.json) << out.dump(2) << '\n';
  };
  out["checks"] = checks_of(o.checks);
  save();
  out["copy_gb_s"] = copy_speed(*device, o);
  out["products"] = products(*device, o);
  if (o.small) {
    out["models"].push_back(model(device, shape_small(), o));
  } else {
    out["models"].push_back(model(device, shape_1_5b(), o));
    save();
    if (!o.is_late(0.6)) out["models"].push_back(model(device, shape_7b(), o));
  }
  out["llama_bench"] = llama_of(o.llama_bench, out["models"][0]);
  save();
  for (const Json& m : out["models"]) {
    if (!m.value("same_bits", false)) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace s3d

int main(int argc, char** argv) {
  s3d::Options options;
  CLI::App app("Bits and times of the CUDA kernels on the card of this machine");
  app.add_option("--device", options.device, "card (default) or emulated")->check(CLI::IsMember({"card", "emulated"}));
  app.add_option("--json", options.json, "File for the figures");
  app.add_flag("--probe", options.probe, "Only says which card there is");
  app.add_option("--write-model", options.write_model, "Only writes the 1.5B model of random weights into this file");
  app.add_option("--checks", options.checks, "File of checks that were made before: name, verdict, seconds");
  app.add_option("--llama-bench", options.llama_bench, "File that llama-bench -o json wrote on that model");
  app.add_option("--commit", options.commit, "Noted in the figures");
  app.add_option("--most", options.most, "Seconds after which the rest is left out");
  app.add_flag("--small", options.small, "Tiny shapes, to try the program");
  CLI11_PARSE(app, argc, argv);
  return options.write_model.empty() ? s3d::check(options) : s3d::write_model(options);
}
