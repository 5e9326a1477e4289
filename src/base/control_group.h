// Limits of processor time by Linux's control groups: what containers and services run under.
#pragma once

#include <string>

namespace s3d {

// Processor time that this process may use, in cores: the least quota of its own control group and of all groups above
// it; infinity where none is limited. Versions 1 and 2. Thread rule: any thread.
// `groups`: where the groups are mounted. `own`: which of them are this process's, in the form of /proc/self/cgroup.
double control_group_cores(const std::string& groups = "/sys/fs/cgroup", const std::string& own = "/proc/self/cgroup");

}  // namespace s3d
