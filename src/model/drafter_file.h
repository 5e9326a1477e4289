// Files of drafters that are no adapters of S3D's: EAGLE and Medusa (docs/drafters.md has the format and the formulas).
// One truth for the trainer, which writes these files, and the engine, which runs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "model/adapter.h"
#include "model/config.h"
#include "s3d/types.h"

namespace s3d {

// What the files of all drafters begin with, those of adapters too.
struct DrafterHeader {
  std::string kind;  // s3d.kind: "eagle", "medusa", "fused"; "s3d" where there is none
  uint64_t base_fingerprint = 0;
  std::string base_name;  // general.name of the base, for messages; may be empty
};

// Errors: not a drafter's file, another version of the format, no fingerprint.
Result<DrafterHeader> read_drafter_header(const GgufFile& file);

// A checked file of EAGLE's. Tensors point into `file`; all values are finite. Thread rule: const.
struct EagleFile {
  static constexpr int kMaxTaps = 8;

  std::shared_ptr<const GgufFile> file;  // the layer too: its tensors have the base's names and shapes
  std::vector<int> taps;                 // numbers of layers run, rising; empty: the state behind the last one
  const Tensor* fc = nullptr;            // [d_model, 2 d_model]
  const Tensor* tap = nullptr;           // [d_model, taps * d_model], or null
  std::vector<TokenId> draft_ids;        // empty: all tokens
};

// A checked file of Medusa's. As EagleFile.
struct MedusaFile {
  static constexpr int kMaxHeads = 15;

  struct Head {
    const Tensor* weight = nullptr;    // [d_model, d_model]
    std::vector<float> bias;           // [d_model]
    const Tensor* low = nullptr;       // head_a [rank, d_model], or null
    const Tensor* low_head = nullptr;  // head_b [n, rank], or null
  };
  std::shared_ptr<const GgufFile> file;
  std::vector<Head> heads;
  std::vector<TokenId> draft_ids;  // empty: all tokens
};

// Check everything against the base and its fingerprint (base_fingerprint() of model/fingerprint.h). Errors name the
// file and what is wrong: those of read_drafter_header; another kind; another base; a part that is missing, unknown or
// has a wrong shape or type; a value that is not finite; draft ids outside the vocabulary or twice.
Result<EagleFile> open_eagle(std::shared_ptr<const GgufFile> file, const ModelConfig& base, uint64_t base_fingerprint);
Result<MedusaFile> open_medusa(std::shared_ptr<const GgufFile> file, const ModelConfig& base,
                               uint64_t base_fingerprint);

// What a file of such a drafter holds beside its tensors.
struct DrafterMetadata {
  DrafterHeader header;   // kind "eagle" or "medusa"
  std::vector<int> taps;  // of eagle
  int heads = 0;          // of medusa
  TrainingCost cost = {};
};

// The bytes of a drafter's file. Matrices are stored as `type` (F32, F16, Q8_0, Q4_0 or Q4_1; F16 where rows are not a
// multiple of its block), vectors as F32; `draft_ids` may be empty. Errors: another type, a shape that does not fit its
// values, a value that is too large for the type. It does not check that the tensors are those that the kind needs:
// open_eagle() and open_medusa() do.
Result<std::vector<std::byte>> drafter_image(const DrafterMetadata& metadata, const std::vector<AdapterTensor>& tensors,
                                             const std::vector<TokenId>& draft_ids, ggml_type type);

namespace draft_file_names {
inline constexpr std::string_view kEagle = "eagle";
inline constexpr std::string_view kMedusa = "medusa";
inline constexpr std::string_view kEagleTaps = "eagle.taps";
inline constexpr std::string_view kEagleFc = "eagle.fc";
inline constexpr std::string_view kEagleTap = "eagle.tap";
inline constexpr std::string_view kMedusaHeads = "medusa.heads";
std::string medusa(int head, std::string_view part);  // "medusa.HEAD.weight", "bias", "head_a", "head_b"
}  // namespace draft_file_names

}  // namespace s3d
