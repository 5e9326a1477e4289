// A model that is loaded and ready to run, with all its parts: file, tokenizer, adapter, backend, KV cache. The public
// Engine (s3d/engine.h), the command line and the trainer stand on it.
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
#include "backend/packed_adapter.h"
#include "base/result.h"
#include "decode/generate.h"
#include "decode/ngram_table.h"
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
  int gpu_layers = -1;    // layers on the card, from the last one down, the others on the CPU; -1: as many as fit
  size_t gpu_memory = 0;  // bytes of the card's memory that may be used; 0: those that are free
  int max_rows = 256;  // rows of one pass at most (not above what the KV pool holds): long prompts run in such chunks
  std::string adapter = "";  // file of the draft adapter; "": the one that is found (find_adapter); "none"
  std::vector<std::string> draft_files = {};  // of other drafters (docs/drafters.md); empty: those that are found
  LoadProgress progress = nullptr;            // called while weights are packed

  Status check() const;  // numbers out of their range, before anything is read
};

// Bytes held, by purpose. `file` is what the weights took on disk.
struct MemoryUse {
  size_t file;
  size_t weights;  // packed; 0 with the reference, which reads the file
  size_t kv;       // the whole pool; pages that were never used take no memory
  size_t scratch;
  size_t adapter;  // packed; 0 without one
};

struct AnswerOptions {
  DecodeOptions generate = {};
  std::vector<std::string> stops = {};  // text that ends the answer and is no part of it
};

// The tokenizer of a model's file. Errors: those of Tokenizer::load(); more tokens than the model's embedding has rows.
Result<Tokenizer> load_tokenizer(const GgufFile& file, const ModelConfig& config);

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

  const GgufFile& file() const { return *parts_.model->file; }
  const Model& model() const { return *parts_.model; }
  const ModelConfig& config() const { return parts_.model->config; }
  const Tokenizer& tokenizer() const { return parts_.tokenizer; }
  // The draft adapter, or null.
  const std::shared_ptr<const PackedAdapter>& adapter() const { return parts_.adapter; }
  const std::string& adapter_path() const { return parts_.adapter_path; }
  // The adapter's n-grams, or null.
  const std::shared_ptr<const NgramTable>& ngrams() const { return parts_.ngrams; }
  // The files of drafters, the adapter's too, and that of one kind (s3d.kind; "s3d" has none in its file); "": none.
  const std::vector<DraftFile>& draft_files() const { return parts_.draft_files; }
  std::string draft_file(std::string_view kind) const;
  // What all sequences of one drafter share, for whoever makes that drafter; null until the first of them.
  std::shared_ptr<void>& shared_by(const std::string& drafter) { return shared_[drafter]; }
  const std::shared_ptr<const Model>& shared_model() const { return parts_.model; }
  BackendKind backend_kind() const { return parts_.backend_kind; }
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
    std::shared_ptr<const PackedAdapter> adapter;
    std::shared_ptr<const NgramTable> ngrams;
    std::string adapter_path;
    std::vector<DraftFile> draft_files;
    BackendKind backend_kind;
    std::unique_ptr<Backend> backend;
    KvCache kv;
    int context;
    int threads;
  };
  explicit Runtime(Parts parts);

  Parts parts_;
  std::map<std::string, std::shared_ptr<void>> shared_;  // refer to parts_
  std::map<std::string, std::shared_ptr<Experience>> experience_;
  std::shared_ptr<PassCosts> costs_;
};

}  // namespace s3d
