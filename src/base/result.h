// Result<T> is part of the public interface; the code of the library includes it from here, with S3D_CHECK.
#pragma once

#include "base/check.h"
#include "s3d/result.h"
