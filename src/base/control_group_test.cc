#include "base/control_group.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/test_folder.h"

namespace s3d {
namespace {

namespace fs = std::filesystem;

class ControlGroup : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  double cores(const std::string& own) {
    put("own", own);
    return control_group_cores(folder_ / "groups", folder_ / "own");
  }

  const TestFolder folder_;
};

TEST_F(ControlGroup, WithoutLimitsThereIsNone) {
  EXPECT_EQ(cores(""), HUGE_VAL);
  put("groups/cpu.max", "max 100000\n");
  EXPECT_EQ(cores("0::/a/b\n"), HUGE_VAL);
}

TEST_F(ControlGroup, TheOwnGroupAndThoseAboveItCount) {
  put("groups/user/job/cpu.max", "400000 100000\n");
  put("groups/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(cores("0::/user/job\n"), 4);
  EXPECT_EQ(cores("0::/user/job/deeper\n"), 4);
  EXPECT_EQ(cores("0::/user\n"), HUGE_VAL) << "a limit below is not ours";
  put("groups/user/cpu.max", "150000 100000\n");
  EXPECT_EQ(cores("0::/user/job\n"), 1.5);
  EXPECT_EQ(cores("0::/../../user/job\n"), 1.5) << "a group outside of the namespace";
}

TEST_F(ControlGroup, AContainerSeesItsGroupAtTheMount) {
  put("groups/cpu.max", "200000 100000\n");
  EXPECT_EQ(cores("0::/docker/abc\n"), 2);
}

TEST_F(ControlGroup, VersionOneHasTwoFilesAndNamedControllers) {
  put("groups/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  put("groups/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores("5:memory:/x\n4:cpu,cpuacct:/job\n"), 2.5);
  EXPECT_EQ(cores("4:cpuset:/job\n"), HUGE_VAL);
  put("groups/cpu/cpu.cfs_quota_us", "-1\n");
  put("groups/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores("1:cpu:/\n"), HUGE_VAL);
}

}  // namespace
}  // namespace s3d
