// Which rows a full pass has: one rule for the answers, drafts and prompts of all sequences.
#pragma once

#include <span>
#include <vector>

#include "decode/cost_model.h"

namespace s3d {

// What a sequence would like to have run. It either decodes or still has a prompt to run.
struct RowWish {
  int prompt_rows = 0;            // of its prompt, not run yet; 0: it decodes, and one row is sure
  int waited = 0;                 // steps in which its prompt could have run
  std::span<const double> paths;  // [drafted nodes] the chance of the path to each, never above its parent's
  int whole_draft = 0;            // nodes of a draft that is verified whatever it promises; `paths` is empty then
  int riders = 0;                 // rows of masks that ride behind its rows, at most
};

struct RowLimits {
  int rows = 1;                // of the pass; at least the sequences that decode
  double step_seconds = 0;     // that a pass may take because of prompts, while anyone decodes; 0: as long as it takes
  double spent_seconds = 0;    // on drafts, before the pass
  int least_prompt_rows = 16;  // of all prompts together, however long the pass takes
};

struct RowGrant {
  int prompt_rows = 0;
  std::vector<int> nodes;  // of `paths`, ascending; with each node its parent
};

// A row for every sequence that decodes. Then drafted nodes, the likeliest paths of all sequences first, as many as
// make the expected tokens a second of those sequences largest. Then prompts in what is left: the shortest first, but a
// step of waiting counts as 16 rows less. With one sequence it is what the planner finds best for it (draft_choice.h).
// Pure: the same wishes get the same rows.
std::vector<RowGrant> allocate_rows(std::span<const RowWish> wishes, const PassCosts& costs, const RowLimits& limits);

}  // namespace s3d
