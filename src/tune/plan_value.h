// What a plan of drafts is worth: from the costs of passes on a machine and from how often drafts are right.
#pragma once

#include <string>
#include <vector>

#include "decode/cost_model.h"
#include "model/layer_set.h"
#include "tune/acceptance_law.h"

namespace s3d::tune {

// Seconds of passes. All of one machine, model and number of threads.
struct Costs {
  PassCosts full;             // T(n)
  std::vector<double> head;   // [rows] of a draft pass, beside its layers; [0] is not used
  std::vector<double> layer;  // [rows] of one of its layers
  double adapter = 1;         // times that, what a trained adapter's draft pass takes: its LoRA, Markov head, …
  double riders = 0;          // of a pass in which masks ride, beside its rows: their LoRA
  double rest = 0;            // of a round: choosing and committing tokens
  double context = 1;         // times draft passes: on texts, where D was measured alone

  // D(layers, rows) of a trained draft pass.
  double draft(int layers, int rows) const;
};

// What full passes of so many rows took while texts were decoded, on average.
struct PassSample {
  int rows = 1;
  double seconds = 0;
};

// The curve `alone`, raised or lowered to go through `seen` (ascending by rows, at least one): its ratio to them is a
// straight line between them, and the same as at the outermost beyond. Passes that are measured alone are short of
// context, and the memory's state and other programs change what they take. It rises: a wider pass does all that a
// narrower one does, so a narrower one that took longer was disturbed.
PassCosts in_texts(const PassCosts& alone, const std::vector<PassSample>& seen);

// What was learned of drafts: laws by the place of the layers, and what training and depth do to them.
struct Laws {
  // Of untrained drafts: u by the share of a plan's layers that stand at the model's start, ascending.
  struct Split {
    double share = 0.5;
    double u = 0;
  };
  std::vector<Split> splits;  // at least one
  // [depth] what is added to u for a trained draft at that depth; deeper ones as the last. Empty: nobody trained.
  std::vector<double> trained;
  // [depth] what no number of layers gets above, 1 where absent. The first draft comes from the row of the last token,
  // and all layers make it the target's own. A mask does not know the token before the one that it guesses.
  std::vector<double> ceiling;
  std::vector<double> fused;  // [mask] how often a mask that rode in a full pass is right, those before it being so

  double u(double share) const;  // straight lines between the splits, the outermost beyond them
  // [depth] of a plan, conditional on the tokens before it.
  std::vector<double> rates(LayerSet layers, int n_layers, int depth) const;
};

struct Plan {
  bool fused = false;
  LayerSet layers;  // of the draft pass; all of them if fused
  int masks = 0;

  std::string text() const;  // "3+9, 3 masks", "fused, 2 masks"
  friend bool operator==(const Plan&, const Plan&) = default;
};

struct PlanValue {
  Plan plan;
  int depth = 0;       // tokens drafted in a round, at most masks + 1 (fused: masks): what gives most
  double tokens = 1;   // of a round
  double seconds = 0;  // of a round
  double tps = 0;      // tokens / seconds
};

// The best depth of a draft by a pass whose tokens are right in `rates` of the cases, and its worth. `draft_seconds`:
// [depth] of making a draft. depth 0: none pays.
PlanValue best_depth(const Costs& costs, const std::vector<double>& rates, const std::vector<double>& draft_seconds);

// `masks` masks behind each row of a round that drafts as many tokens: no pass, but (masks + 1)² rows.
PlanValue fused_value(const Costs& costs, const std::vector<double>& rates);

// Every plan whose layers lie as the laws know it (from the lowest to the highest share of `laws.splits`), with the
// number of masks up to `most_masks` that is worth most, and the fused ones, best first.
std::vector<PlanValue> all_plans(const Costs& costs, const Laws& laws, int n_layers, int most_masks);

}  // namespace s3d::tune
