// What the names of tokenizer.ggml.pre stand for: expressions that cut text into words, and habits of the tokenizers
// that they come from. Facts, with their sources in docs/text.md. Internal to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace s3d {

// Expressions are applied one after the other, each to the pieces that the one before it left: what matches is a piece
// of its own, and so is what lies between two matches.
struct WordExpressions {
  std::array<const char*, 6> list;  // nullptr from the end on
};

// Habits of a tokenizer besides its expressions.
struct PreTokenizerHabits {
  bool nfc = false;          // text is composed (Unicode's form NFC) before it is cut
  bool whole_words = false;  // a word that is a token is taken as it is, whether merges lead to it or not
  bool adds_bos = false;     // a prompt begins with BOS unless the file says otherwise
};

struct PreTokenizerForm {
  std::string_view name;
  const WordExpressions* expressions;
  PreTokenizerHabits habits;
};

// All that are known, in the order in which messages list them.
std::span<const PreTokenizerForm> pre_tokenizer_forms();

// nullptr if unknown.
const PreTokenizerForm* find_pre_tokenizer_form(std::string_view name);

}  // namespace s3d
