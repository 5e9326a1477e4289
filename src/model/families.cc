#include "model/family.h"

namespace s3d {
namespace {

constexpr const Family* kFamilies[] = {&kFamilyLlama,  &kFamilyQwen2,   &kFamilyQwen3,    &kFamilyPhi3, &kFamilyGemma3,
                                       &kFamilyGemma2, &kFamilyGranite, &kFamilyMistral3, &kFamilyOlmo2};

}  // namespace

std::span<const Family* const> families() {
  return kFamilies;
}

const Family* find_family(std::string_view architecture) {
  for (const Family* family : families()) {
    if (family->architecture == architecture) return family;
  }
  return nullptr;
}

std::vector<std::string> known_families() {
  std::vector<std::string> names;
  for (const Family* family : families()) names.emplace_back(family->architecture);
  return names;
}

}  // namespace s3d
