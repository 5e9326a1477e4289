// A model that is loaded and ready to run, with all its parts: file, tokenizer, backend, KV cache, what drafters share.
// The public Engine (s3d/engine.h), the command line and the trainer stand on it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/kv_cache.h"
#include "base/result.h"
#include "decode/generate.h"
#include "engine/adapter_path.h"
#include "engine/backend_choice.h"
#include "file/gguf.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace s3d {

struct RuntimeOptions {
  std::string model;              // path of a GGUF file, or the name of a model in the cache folder
  int threads = 0;                // 0 = all cores that the process may use
  int context = 0;                // positions of one sequence; 0 = the model's own, at most kDefaultContext
  bool shorter_context = false;   // a model made for fewer positions than `context` gets its own number: no error then
  int sequences = 1;              // the KV pool has room for this many sequences of `context` positions
  KvType kv_type = KvType::kF16;  // how keys and values are stored
  BackendKind backend = BackendKind::kCpu;
  GpuOptions gpu = {};  // what lies on cards, where the backend has some
  int max_rows = 256;   // rows of one pass at most (not above what the KV pool holds): long prompts run in such chunks
  // File of the draft adapter; "": those of draft_files, or if there are none the one that is found (find_adapter);
  // "none": of no adapter but those of draft_files, and nothing is found.
  std::string adapter = "";
  // Of drafters (docs/drafters.md), adapters too; empty: those that are found.
  std::vector<std::string> draft_files = {};
  LoadProgress progress = nullptr;  // called while weights are packed

  Status check() const;  // numbers out of their range, before anything is read
};

// Bytes held, by purpose. `file` is what the weights took on disk.
struct MemoryUse {
  size_t file;
  size_t weights;   // packed by the host; 0 with the reference, which reads the file
  size_t on_cards;  // weights in the memory of cards
  size_t kv;        // the whole pool; pages that were never used take no memory
  size_t scratch;
  size_t drafters;  // what sequences of drafters share, as far as it is open
};

struct AnswerOptions {
  DecodeOptions generate = {};
  std::vector<std::string> stops = {};  // text that ends the answer and is no part of it
};

// The tokenizer of a model's file. Errors: those of Tokenizer::load(); more tokens than the model's embedding has rows.
Result<Tokenizer> load_tokenizer(const GgufFile& file, const ModelConfig& config);

// What all sequences of one drafter share.
struct SharedParts {
  std::shared_ptr<void> parts;  // null until the first of them is made
  size_t bytes = 0;             // of memory held
};

struct Experience;  // decode/planner.h
struct PassCosts;   // decode/cost_model.h

// Stays where it is: drafters and sequences refer to its parts. Thread rule: one call at a time, except for the const
// getters.
class Runtime {
 public:
  static constexpr int kDefaultContext = 8192;

  // Opens the file, checks it, packs the weights (not for the reference), and sets up tokenizer and KV pool. Errors: no
  // such model; anything that the parts refuse; an option out of range.
  static Result<std::unique_ptr<Runtime>> load(const RuntimeOptions& options);
  // Who would run which layers. Opens and checks the files, and packs nothing. Errors: as above.
  static Result<std::vector<BackendPart>> plan(const RuntimeOptions& options);

  const GgufFile& file() const { return *parts_.model->file; }
  const Model& model() const { return *parts_.model; }
  const ModelConfig& config() const { return parts_.model->config; }
  const Tokenizer& tokenizer() const { return parts_.tokenizer; }
  // The files of drafters, the adapter of --adapter or the one that was found first. What drafters need of them is read
  // when the first such drafter is made (engine/draft_parts.h).
  const std::vector<DraftFile>& draft_files() const { return parts_.draft_files; }
  const DraftFile& draft_file(std::string_view path) const;  // the one of them with that path
  // The first that is an adapter's, or null; its path, or "".
  const DraftFile* first_adapter() const;
  std::string adapter_path() const;
  // So many rows of the LM head come first that are a draft vocabulary, the first S3D adapter's; 0: none.
  int draft_vocab() const { return parts_.draft_vocab; }
  // What all sequences of one drafter share, for whoever makes that drafter.
  SharedParts& shared_by(const std::string& drafter) { return shared_[drafter]; }
  const std::shared_ptr<const Model>& shared_model() const { return parts_.model; }
  BackendKind backend_kind() const { return parts_.backend_kind; }
  const std::vector<BackendPart>& backend_parts() const { return parts_.backend_parts; }  // in order of the layers
  Backend& backend() { return *parts_.backend; }
  const Backend& backend() const { return *parts_.backend; }
  KvCache& kv() { return parts_.kv; }
  const KvCache& kv() const { return parts_.kv; }
  int context() const { return parts_.context; }
  int threads() const { return parts_.threads; }
  // What the planners of this runtime's sequences learned, by the drafters they choose from; null until the first one.
  std::shared_ptr<Experience>& experience(const std::string& drafters) { return experience_[drafters]; }
  // What full passes cost here: measured when the first planner is made, else learned; refined by every pass.
  const std::shared_ptr<PassCosts>& costs() const { return costs_; }
  MemoryUse memory() const;

  // Ids of a prompt without a chat template, with BOS where the model wants it. `parse_special`: special tokens written
  // in the text are meant as such. Error: no tokens.
  Result<std::vector<TokenId>> encode(std::string_view text, bool parse_special = true) const;

  // generate() of decode/generate.h with this runtime's parts. `options.is_end` defaults to the tokenizer's end tokens,
  // `options.context` to context(). Tokens of `seq` in the KV pool beyond the common beginning with `prompt` must have
  // been dropped by the caller (TextSequence does).
  Result<Generation> generate(const KvSequence& seq, std::span<const TokenId> prompt, DecodeOptions options,
                              const OnToken& on_token = {});

  // The same as text.
  Result<Answer> answer(const KvSequence& seq, std::span<const TokenId> prompt, const AnswerOptions& options,
                        const OnText& on_text = {});

 private:
  struct Parts {
    std::shared_ptr<const Model> model;
    Tokenizer tokenizer;
    std::vector<DraftFile> draft_files;
    int draft_vocab;
    BackendKind backend_kind;
    std::unique_ptr<Backend> backend;
    std::vector<BackendPart> backend_parts;
    KvCache kv;
    int context;
    int threads;
  };
  explicit Runtime(Parts parts);

  Parts parts_;
  std::map<std::string, SharedParts> shared_;  // refer to parts_
  std::map<std::string, std::shared_ptr<Experience>> experience_;
  std::shared_ptr<PassCosts> costs_;
};

}  // namespace s3d
