// What the sequences of one drafter share: the parts of its file, opened when the first of them is made and kept by the
// runtime.
#pragma once

#include <memory>
#include <string>

#include "backend/packed_adapter.h"
#include "base/result.h"
#include "decode/eagle_head.h"
#include "decode/medusa_heads.h"
#include "decode/ngram_table.h"

namespace s3d {

class Runtime;

// `path`: a file of Runtime::draft_files(). Errors: those of opening it (model/adapter.h, model/drafter_file.h), of
// packing it, and a backend that cannot run it.
Result<std::shared_ptr<const PackedAdapter>> shared_adapter(Runtime& runtime, const std::string& path);
Result<std::shared_ptr<EagleHead>> shared_eagle(Runtime& runtime, const std::string& path);
Result<std::shared_ptr<MedusaHeads>> shared_medusa(Runtime& runtime, const std::string& path);

// The n-grams of the first adapter, without its other parts; null where it has none, or none is there. Errors: those of
// opening it.
Result<std::shared_ptr<const NgramTable>> shared_ngrams(Runtime& runtime);

}  // namespace s3d
