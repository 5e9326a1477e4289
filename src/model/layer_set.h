// Which layers of a model a draft pass runs. LayerSet itself is in s3d/options.h.
#pragma once

#include "s3d/options.h"

namespace s3d {

// What a draft pass runs when nobody says otherwise: a tenth of the layers at the start and three tenths at the end,
// each rounded to the nearest number and at least one, where the model has two layers. Late layers matter more: 3 + 9
// of 30 drafted better than 6 + 6 (docs/method.md).
LayerSet default_draft_layers(int n_layers);

}  // namespace s3d
