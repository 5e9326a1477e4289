#include "decode/ngram_table.h"

#include <bit>
#include <cmath>

#include "base/check.h"
#include "base/splitmix64.h"
#include "model/adapter.h"

namespace s3d {
namespace {

uint64_t hash_of(int32_t before, int32_t last) {
  return splitmix64(static_cast<uint64_t>(static_cast<uint32_t>(before)) << 32 | static_cast<uint32_t>(last));
}

}  // namespace

NgramTable::NgramTable(const Ngrams& ngrams) : slots_(std::bit_ceil(ngrams.size() + ngrams.size() / 3 + 1)) {
  constexpr int32_t kMaxTokens = 1 << 24;
  for (size_t i = 0; i < ngrams.size(); ++i) {
    S3D_CHECK(ngrams.next[i] >= 0 && ngrams.next[i] < kMaxTokens, "a token that an opened adapter cannot hold");
    const auto chance = static_cast<uint32_t>(std::lround(ngrams.chance[i] * 255));
    uint32_t check = 0;
    Slot& slot = slots_[find(ngrams.before[i], ngrams.last[i], check)];
    if (chance == 0 || slot.chance != 0) continue;
    slot.check = check;
    slot.token = static_cast<uint32_t>(ngrams.next[i]) & 0xffffffU;
    slot.chance = chance & 0xffU;
  }
}

size_t NgramTable::find(int32_t before, int32_t last, uint32_t& check) const {
  const uint64_t hash = hash_of(before, last);
  check = static_cast<uint32_t>(hash >> 32);
  size_t at = hash & (slots_.size() - 1);
  while (slots_[at].chance != 0 && slots_[at].check != check) at = (at + 1) & (slots_.size() - 1);
  return at;
}

NgramTable::Guess NgramTable::after(int32_t before, int32_t last) const {
  uint32_t check = 0;
  for (const int32_t first : {before, -1}) {
    const Slot& slot = slots_[find(first, last, check)];
    if (slot.chance != 0) return {static_cast<int32_t>(slot.token), static_cast<float>(slot.chance) / 255};
  }
  return {0, 0};
}

}  // namespace s3d
