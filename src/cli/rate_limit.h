// How often each client may ask.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace s3d::cli {

// Each client has a number of requests that fills up evenly; a minute's worth may come at once. Thread rule: any
// thread.
class RateLimit {
 public:
  // 0: any number.
  explicit RateLimit(int per_minute) : per_minute_(per_minute) {}

  // Takes one request of `client` at the time `now`, in seconds that never go back. Nothing: it may be served;
  // otherwise the seconds until the next one may.
  std::optional<double> take(const std::string& client, double now);

 private:
  struct Budget {
    double left;
    double at;  // when that was
  };
  double filled(const Budget& budget, double now) const;
  void forget_full(double now);

  const int per_minute_;
  std::mutex mutex_;
  std::map<std::string, Budget> budgets_;  // by mutex_; who is not in it has all
  double swept_ = 0;                       // by mutex_
};

}  // namespace s3d::cli
