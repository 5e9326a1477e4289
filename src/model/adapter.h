// The adapter of a base model: what a draft pass adds to it (docs/adapter.md has the format and the formulas).
// One truth for the trainer, which writes these files, and the engine, which runs them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "model/config.h"
#include "model/layer_set.h"
#include "s3d/types.h"

namespace s3d {

// The sizes of an adapter, as its metadata and the shapes of its tensors tell. A rank of 0 or a count
// of 0 means that the part is absent.
struct AdapterConfig {
  static constexpr int kMaxMasks = kMaxRoundRows - 1;  // a draft pass has a row for the last token too
  static constexpr int kMaxRank = 4096;                // of any low-rank part

  uint64_t base_fingerprint = 0;  // base_fingerprint() of the base's file
  std::string base_name;          // general.name of the base, for messages; may be empty
  LayerSet layers;                // that the draft pass runs
  int masks = 0;                  // γ
  bool fused = false;             // the masks ride in full passes; else there is a draft pass for them
  int lora_rank = 0;
  int bridge_rank = 0;
  int markov_rank = 0;
  int state_rank = 0;
  bool state_on_first_row = false;  // the state is also added to the row of the last token, not to masks only
  int draft_vocab = 0;              // rows of the reduced head; 0: the base's whole vocabulary
  bool confidence = false;
  int ngrams = 0;  // entries of the n-gram table

  // Longest chain that one draft can give: a draft pass has a row for the last token too, of which a fused draft only
  // the Markov head knows.
  int depth() const { return fused ? masks : masks + 1; }
};

// What the base often says after one or two tokens. All arrays have one length.
struct Ngrams {
  std::vector<int32_t> before, last;  // the two tokens; `before` -1: any
  std::vector<int32_t> next;
  std::vector<float> chance;  // that `next` follows, in [0, 1]

  size_t size() const { return next.size(); }
};

// The matrices of a layer that may have a LoRA pair; fused matrices (phi3) count as their parts.
enum class LoraTarget : uint8_t { kQ, kK, kV, kOutput, kGate, kUp, kDown };
constexpr int kLoraTargets = 7;
std::string_view lora_target_name(LoraTarget target);  // "attn_q", …, as in the base's tensor names

// Outputs and inputs of the base's matrix that a pair is added to.
struct MatrixShape {
  int rows, cols;
};
MatrixShape lora_target_shape(const ModelConfig& base, LoraTarget target);

// y += b (a x) for every row of the draft pass. Both or neither are there. The usual factor alpha / rank is in b.
struct LoraPair {
  const Tensor* a = nullptr;  // [rank, in]
  const Tensor* b = nullptr;  // [out, rank]
  explicit operator bool() const { return a != nullptr; }
};

// x += up (down x)
using LowRank = LoraPair;

// A checked adapter. Tensors point into `file`; matrices are [out, in] like the base's and ready to be packed, in one
// of the types F32, F16 and Q8_0; all values are finite. Thread rule: const.
struct Adapter {
  AdapterConfig config;
  std::shared_ptr<const GgufFile> file;

  const Tensor* masks = nullptr;                         // [masks, d_model] inputs of the first layer, or null
  std::vector<std::array<LoraPair, kLoraTargets>> lora;  // [layers.count()], see LayerSet::layer()
  LowRank bridge;                                        // before the first of layers.last
  LowRank state;                                         // a = down, b = up
  const Tensor* markov_p = nullptr;                      // [rank, d_model]
  const Tensor* markov_w2 = nullptr;                     // [draft vocabulary or whole vocabulary, rank]
  std::vector<TokenId> draft_ids;                        // [draft_vocab] token of each row of the reduced head
  std::vector<float> confidence_w;                       // [d_model + markov_rank]
  float confidence_b = 0;
  Ngrams ngrams;
};

// Reads the metadata and the shapes, without knowing the base: to list adapters and to find the right one. Errors:
// not an adapter, another version of the format, an absurd plan, a part that is incomplete, unknown tensors.
Result<AdapterConfig> read_adapter_config(const GgufFile& file);

// Checks everything against the base and its fingerprint (base_fingerprint() of model/fingerprint.h). Errors, beside
// those of read_adapter_config: made for another base; a plan that does not fit the base's layers; a wrong shape or
// type; a value that is not finite; draft ids outside the vocabulary or twice.
Result<Adapter> open_adapter(std::shared_ptr<const GgufFile> file, const ModelConfig& base, uint64_t base_fingerprint);

// One tensor to be written: values row by row, shape[0] innermost as in Tensor.
struct AdapterTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// What training a drafter cost, all runs together, for its file; nothing is written while `anchors` is 0.
struct TrainingCost {
  double core_seconds = 0;  // seconds times cores, or seconds of the device
  int64_t anchors = 0;      // positions that were trained on
  int64_t tokens = 0;       // of text
  std::string device;       // empty: a processor
};

// As the file of a drafter tells it; `anchors` is 0 where it does not.
TrainingCost training_of(const GgufFile& file);

// The bytes of an adapter's file. `config` gives the metadata (its ranks are told by the tensors and not written);
// `draft_ids` may be empty. Matrices are stored as `type` (F32, F16 or Q8_0; F16 instead of Q8_0 where rows are not a
// multiple of 32), vectors as F32. Errors: another type, a shape that does not fit its values, a value
// that is too large for the type it is stored as.
Result<std::vector<std::byte>> adapter_image(const AdapterConfig& config, const std::vector<AdapterTensor>& tensors,
                                             const std::vector<TokenId>& draft_ids, ggml_type type,
                                             const Ngrams& ngrams = {}, const TrainingCost& cost = {});

// The bytes of `adapter`'s file with `ngrams` in place of those that it has. All else keeps its type and bits.
std::vector<std::byte> with_ngrams(const Adapter& adapter, const Ngrams& ngrams);

// Whether a tensor of an adapter's file holds trained numbers: all do but token ids and the n-gram table.
bool is_trained(std::string_view tensor_name);

// Names of the tensors in the file.
namespace adapter_names {
inline constexpr std::string_view kArchitecture = "s3d-adapter";
inline constexpr int kVersion = 1;
inline constexpr std::string_view kKindFused = "fused";  // s3d.kind of an adapter whose masks ride in full passes
inline constexpr std::string_view kMasks = "mask_embd";
inline constexpr std::string_view kDraftIds = "draft_vocab.ids";
inline constexpr std::string_view kMarkovP = "markov.p";
inline constexpr std::string_view kMarkovW2 = "markov.w2";
inline constexpr std::string_view kStateDown = "state.down";
inline constexpr std::string_view kStateUp = "state.up";
inline constexpr std::string_view kBridgeDown = "bridge.down";
inline constexpr std::string_view kBridgeUp = "bridge.up";
inline constexpr std::string_view kConfidenceW = "confidence.w";
inline constexpr std::string_view kConfidenceB = "confidence.b";
inline constexpr std::string_view kNgramTokens = "ngram.tokens";
inline constexpr std::string_view kNgramChance = "ngram.chance";
std::string lora(int layer, LoraTarget target, char part);  // "blk.LAYER.attn_q.lora_a"; part: 'a' or 'b'
}  // namespace adapter_names

}  // namespace s3d
