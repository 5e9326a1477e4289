// What a run reads before it trains: base, text, the adapter to start from.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "train/base_model.h"
#include "train/dataset.h"
#include "train/draft_block.h"
#include "train/recipe.h"
#include "train/record_store.h"

namespace s3d::train {

struct Inputs {
  BaseModel base;
  Dataset data, held_out;
  uint64_t data_hash = 0;
};

// Reads everything, and completes the draft layers of `recipe`. Errors: what check_recipe, read_dataset,
// check_memory and load_base refuse.
Result<Inputs> load_inputs(Recipe& recipe);

// Moves `count` sequences (at most a tenth), chosen by `seed`, from `data` to a new dataset.
Dataset split_held_out(Dataset& data, int count, uint64_t seed);

// Of the sequences first, first + stride, …: a rank's share.
Dataset share_of(const Dataset& data, int first, int stride);

// How the base records of a dataset are to be held; `name`: of its folder in recipe.record_folder.
RecordStoreOptions record_store_options(const Recipe& recipe, const char* name);

// The draft vocabulary of a new drafter; empty: all tokens.
std::vector<int32_t> first_draft_ids(const Recipe& recipe, const Inputs& in);

// A new adapter by the recipe, or one that starts from recipe.init.
Result<DraftParams> first_params(const Recipe& recipe, const Inputs& in);

}  // namespace s3d::train
