// S3D_CHECK: stops the program on a bug of ours. Never reachable from outside input.
#pragma once

#include <string>

#include "s3d/result.h"

// `S3D_CHECK(cond)` or `S3D_CHECK(cond, "why")`; on in every build type.
#define S3D_CHECK(cond, ...)                                                      \
  do {                                                                            \
    if (!(cond)) [[unlikely]] {                                                   \
      ::s3d::check_failed(__FILE__, __LINE__, #cond, ::std::string{__VA_ARGS__}); \
    }                                                                             \
  } while (false)

// As S3D_CHECK, debug builds only: for hot loops.
#ifdef NDEBUG
#define S3D_DCHECK(cond, ...) \
  do {                        \
  } while (false)
#else
#define S3D_DCHECK(cond, ...) S3D_CHECK(cond, __VA_ARGS__)
#endif
