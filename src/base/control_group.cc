#include "base/control_group.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

namespace s3d {
namespace fs = std::filesystem;
namespace {

// Version 2: "max 100000" or "150000 100000", quota and period in µs.
double quota_v2(const fs::path& folder) {
  std::string quota;
  double period = 0;
  std::ifstream in(folder / "cpu.max");
  if (!(in >> quota >> period) || quota == "max" || period <= 0) return HUGE_VAL;
  return std::strtod(quota.c_str(), nullptr) / period;
}

// Version 1: two files; a quota of -1 is none.
double quota_v1(const fs::path& folder) {
  double quota = 0, period = 0;
  std::ifstream quota_in(folder / "cpu.cfs_quota_us"), period_in(folder / "cpu.cfs_period_us");
  const bool limited = quota_in >> quota && period_in >> period && quota > 0 && period > 0;
  return limited ? quota / period : HUGE_VAL;
}

// Of a group and all above it, up to the mount. A container may see its own group at the mount while its path is that
// of the host: then only the mount is there to be read.
double least_quota(const fs::path& mount, const std::string& group, double (*quota)(const fs::path&)) {
  double least = quota(mount);
  for (fs::path path = fs::path(group).lexically_normal().relative_path(); !path.empty(); path = path.parent_path()) {
    least = std::min(least, quota(mount / path));
  }
  return least;
}

bool has_name(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == name) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

double control_group_cores(const std::string& groups, const std::string& own) {
  const fs::path mount = groups;
  double least = std::min(quota_v2(mount), quota_v1(mount / "cpu"));
  std::ifstream in(own);
  for (std::string line; std::getline(in, line);) {  // NUMBER:CONTROLLERS:GROUP, without controllers in version 2
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      least = std::min(least, least_quota(mount, group, quota_v2));
    } else if (has_name(controllers, "cpu")) {
      // The folder is named for one controller, or for those that share it.
      least = std::min(
          {least, least_quota(mount / "cpu", group, quota_v1), least_quota(mount / controllers, group, quota_v1)});
    }
  }
  return least;
}

}  // namespace s3d
