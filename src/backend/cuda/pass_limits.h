// How large the passes of a backend get: what its buffers are made for.
#pragma once

namespace s3d::cuda {

struct PassLimits {
  int rows = 0;       // of a pass
  int wanted = 0;     // of them, with logits
  int sequences = 0;  // of a pass
  int context = 0;    // positions of a sequence
  int taps = 0;       // Block::taps
};

}  // namespace s3d::cuda
