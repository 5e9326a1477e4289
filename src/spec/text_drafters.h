// Drafters that find in the text so far what may come next. They run no layer of any model.
#pragma once

#include <memory>

#include "spec/drafter.h"
#include "spec/ngram_table.h"

namespace s3d {

// Prompt lookup: what followed the most recent earlier occurrence of the last tokens, longest match (4 … 2) first.
std::unique_ptr<Drafter> make_lookup_drafter();

// A suffix automaton over prompt and answer with the number of occurrences of every substring: what most often
// followed the longest suffix that occurred before (the idea of SuffixDecoding, arXiv 2411.04975). About 70 bytes a
// token. `habits`, if given, is what the model often says: it speaks where the text has nothing better.
std::unique_ptr<Drafter> make_suffix_drafter(std::shared_ptr<const NgramTable> habits = nullptr);

}  // namespace s3d
