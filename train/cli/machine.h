// How libtorch uses the machine.
#pragma once

#include "base/result.h"
#include "train/recipe.h"

namespace CLI {
class App;
}

namespace s3d::train {

struct MachineOptions {
  int threads = 0;  // 0: all cores
  std::string device = "cpu";

  void add_to(CLI::App& command);

  // Sets up the process and recipe.device. Error: a device that is not there.
  Status apply(Recipe& recipe) const;
};

// Threads of matrix products, from now on; 0: as libtorch finds it right.
void set_threads(int threads);

}  // namespace s3d::train
