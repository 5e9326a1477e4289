// The picture of `s3d bench spec`: speed against what it costs, as figure 1 of the paper (arXiv 2405.20314) shows it.
#pragma once

#include <string>
#include <vector>

namespace s3d::cli {

// A drafter, or plain decoding.
struct SpecDot {
  std::string name;
  double speedup = 1;     // times plain decoding
  double extra_mib = 0;   // memory beyond plain decoding
  double draft_cost = 0;  // of a round, in one-row passes
};

// An SVG document with two panels: the speed-up by extra memory, and by the cost of drafts. Plain decoding is a line
// at 1.
std::string spec_chart(const std::string& title, const std::vector<SpecDot>& dots);

}  // namespace s3d::cli
