// The drafters: those that run layers of a model, and those that find in the text so far what may come next.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "decode/drafter.h"
#include "decode/ngram_table.h"

namespace s3d {

class EagleHead;
class MedusaHeads;
class PackedAdapter;

// S3D (docs/method.md): one draft pass over the last token and mask tokens, with the adapter (trained, or the
// untrained floor). `name`: "s3d" or "s3d-untrained". Backend and cache must outlive the drafter.
std::unique_ptr<Drafter> make_s3d_drafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter,
                                          std::string_view name = "s3d");

// Fused drafts: masks that ride in the full pass before, with a fused adapter. No pass of its own.
std::unique_ptr<Drafter> make_fused_drafter(Backend& backend, std::shared_ptr<const PackedAdapter> adapter);

// EAGLE: a layer of its own guesses token after token, from the base's states (docs/drafters.md).
std::unique_ptr<Drafter> make_eagle_drafter(std::shared_ptr<EagleHead> head);

// Medusa: heads on the base's last state guess a token each.
std::unique_ptr<Drafter> make_medusa_drafter(std::shared_ptr<MedusaHeads> heads);

// Draft & Verify: the kept layers alone, without masks or adapter, draft one token after another, at most `depth`.
std::unique_ptr<Drafter> make_layer_skip_drafter(Backend& backend, KvCache& kv, LayerSet layers, int depth);

// A second, smaller model with the same vocabulary drafts one token after another. `backend` and `kv` are its own; the
// drafter keeps one sequence in `kv`. `vocab`: the target's tokens; of two vocabularies that are padded to different
// sizes the common part is drafted from. `bytes`: what the second model takes.
std::unique_ptr<Drafter> make_model_drafter(std::shared_ptr<Backend> backend, std::shared_ptr<KvCache> kv, int depth,
                                            int vocab, size_t bytes);

// Prompt lookup: what followed the most recent earlier occurrence of the last tokens, longest match (4 … 2) first.
std::unique_ptr<Drafter> make_lookup_drafter();

// A suffix automaton over prompt and answer with the number of occurrences of every substring: what most often
// followed the longest suffix that occurred before (the idea of SuffixDecoding, arXiv 2411.04975). About 70 bytes a
// token. `habits`, if given, is what the model often says: it speaks where the text has nothing better.
std::unique_ptr<Drafter> make_suffix_drafter(std::shared_ptr<const NgramTable> habits = nullptr);

}  // namespace s3d
