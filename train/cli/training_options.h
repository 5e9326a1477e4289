// The options of `adapter`, `joint`, `eagle` and `medusa`; `measure` has some of them.
#pragma once

#include "train/recipe.h"

namespace CLI {
class App;
}

namespace s3d::train {

// What all forms of training and measuring read.
void add_file_options(CLI::App& command, Recipe& recipe);

// --record-folder: where the base stays as it is, what it computed can be held.
void add_record_folder(CLI::App& command, Recipe& recipe);

// Everything else: the drafter's parts, the recipe, the run. `recipe` says which form of training it is for, and gives
// the defaults.
void add_training_options(CLI::App& command, Recipe& recipe);

}  // namespace s3d::train
