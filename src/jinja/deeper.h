// Counts how deeply calls are nested, so that no recursion is without a bound.
#pragma once

namespace s3d::jinja {

// One level deeper for as long as it lives.
class Deeper {
 public:
  explicit Deeper(int& depth) : depth_(++depth) {}
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& depth_;
};

}  // namespace s3d::jinja
