// What `s3d tune` found out about a model's drafts on this machine: kept in a file that the planner begins with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace s3d {

class Runtime;

struct Tuning {
  std::string drafter;   // the trained one that is open, or "" if none is
  std::string file_key;  // which file of it: drafter_file_key()
  // [depth] how often its drafts were right, those before them being so.
  std::vector<double> chances;
  int depth = 0;          // tokens a round that its drafts are worth most with; 0: none pays
  double plain_tps = 0;   // tokens a second of plain decoding, on the texts that were tried
  double tps = 0;         // what that depth promises
  double tps_error = 0;   // one standard deviation of it
  std::string best_plan;  // "3+9, 3 masks": of all plans what promises most once it is trained
  double best_tps = 0, best_error = 0;
};

struct FoundTuning {
  std::optional<Tuning> tuning;  // that fits; or none
  std::string stale;             // why the one that is kept does not fit; empty: it does, or none is kept
};

// Of a drafter's file: another one gets other chances, a copy of it the same, whatever its name and date. Its size, and
// the fingerprint of its tensors.
std::string drafter_file_key(const std::string& path);

// `<cache folder>/tune/MODEL-tN.json`, MODEL being the fingerprint and N the number of threads.
std::string tuning_path(const Runtime& runtime);

// The tuning of this model and number of threads, if it was made by this version on this machine for the drafter file
// that is open. A damaged file counts as stale. Never an error.
FoundTuning read_tuning(const Runtime& runtime);

// The chances of read_tuning(), if they are those of that drafter with that file; else none.
std::vector<double> tuned_chances(const Runtime& runtime, std::string_view drafter, std::string_view file);

// By a temporary name. Errors: those of write_file_atomically.
Status write_tuning(const Runtime& runtime, const Tuning& tuning);

}  // namespace s3d
