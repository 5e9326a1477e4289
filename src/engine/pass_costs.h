// What passes cost on this machine: measured for a model, its adapter, the processor and the number of threads,
// and kept in the cache folder.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "decode/cost_model.h"
#include "decode/drafter.h"

namespace s3d {

class Runtime;

struct MeasuredCosts {
  PassCosts full;
  DraftCosts draft;
};

// Everything about this machine and model that decides what passes cost, as a line of text: two that differ cannot use
// each other's measurements.
std::string cost_machine_key(const Runtime& runtime);

// A measurement now, without looking at what is kept, of at least 0.25 seconds. `drafter`: as below. Error: a pass
// failed; a context or a pass too small to measure.
Result<MeasuredCosts> measure_pass_costs(Runtime& runtime, Drafter* drafter);

// The lower cost at each width.
MeasuredCosts least_costs(const MeasuredCosts& a, const MeasuredCosts& b);

// From `<cache folder>/costs/…json`. The first three programs that ask measure them (about half a second on a small
// model, two on a large one), and the least that any saw is kept there; a file that cannot be written or read is no
// error. `on_measure` (may be empty) is called before they are measured. `drafter`: the one whose draft pass is
// measured too; null: none. `drafter_key`: drafters of one key and of the same extra bytes cost the same. Error: a pass
// failed.
Result<MeasuredCosts> pass_costs(Runtime& runtime, Drafter* drafter, std::string_view drafter_key,
                                 const std::function<void()>& on_measure = {});

}  // namespace s3d
