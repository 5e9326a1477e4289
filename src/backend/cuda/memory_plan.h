// How many of a model's layers one card or several have room for, and which of them has which.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backend/cuda/card_needs.h"
#include "base/result.h"

namespace s3d::cuda {

using NeedsOf = std::function<CardNeeds(const LayerRange&)>;

struct CardMemory {
  std::string name;
  size_t bytes;  // that may be used
};

// The model's last layers on cards that stand in the order of the layers; what comes before them is the CPU's.
struct LayerDivision {
  std::vector<int> layers;  // of each card
  int last = 0;             // the card with the last layer, or, where no layer is on a card, with the LM head alone
};

// Divides `wanted` of `n_layers` layers, or, where that is negative, as many as fit; more than there are is all. By
// `shares`, one for each card, or, where there are none: all on the first card that holds them, else in proportion to
// the memory of the cards, as far as they hold it. Errors: the layers do not fit, with what takes how much; shares that
// are not one for each card, or negative, or all 0.
Result<LayerDivision> divide_layers(const NeedsOf& needs, int n_layers, std::span<const CardMemory> cards, int wanted,
                                    std::span<const double> shares = {});

}  // namespace s3d::cuda
