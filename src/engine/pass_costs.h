// What passes cost on this machine: measured for a model, its adapter, the processor and the number of threads,
// and kept in the cache folder.
#pragma once

#include <functional>
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

// From `<cache folder>/costs/…json`. The first three programs that ask measure them (about half a second on a small
// model, two on a large one), and the least that any saw is kept there; a file that cannot be written or read is no
// error. `on_measure` (may be empty) is called before they are measured. `drafter`: the one whose draft pass is
// measured too; null: none. `drafter_key`: drafters of one key and of the same extra bytes cost the same. Error: a pass
// failed.
Result<MeasuredCosts> pass_costs(Runtime& runtime, Drafter* drafter, std::string_view drafter_key,
                                 const std::function<void()>& on_measure = {});

}  // namespace s3d
