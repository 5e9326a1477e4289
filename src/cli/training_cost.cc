#include "cli/training_cost.h"

#include <fmt/format.h>

#include "file/gguf.h"

namespace s3d::cli {
namespace {

template <typename T>
std::optional<T> known(const Result<std::optional<T>>& read) {
  return read.ok() ? *read : std::nullopt;
}

}  // namespace

TrainingCost read_training_cost(const std::string& path) {
  if (path.empty()) return {};
  const Result<GgufFile> file = GgufFile::open(path);
  if (!file.ok()) return {};
  return {.core_seconds = known(file->real("s3d.training.core_seconds")),
          .anchors = known(file->integer("s3d.training.anchors")),
          .device = known(file->string("s3d.training.device"))};
}

std::string training_text(const TrainingCost& cost) {
  constexpr double kHour = 3600;
  std::string out;
  const auto add = [&out](const std::string& part) { out += (out.empty() ? "" : ", ") + part; };
  if (cost.core_seconds) {
    add(fmt::format("{:.1f} {} hours", *cost.core_seconds / kHour, cost.device.value_or("core")));
  }
  if (cost.anchors) add(fmt::format("{} anchors", *cost.anchors));
  return out;
}

}  // namespace s3d::cli
