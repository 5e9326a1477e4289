#include "kernels/float_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/test_sets.h"

namespace s3d {
namespace {

using Floats = std::vector<float>;

Floats random_floats(size_t n, float spread, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  Floats x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// Runs `f` with every kernel set and checks that all give the same bits; returns the result.
template <typename F>
Floats on_every_isa(F f) {
  const std::vector<const Kernels*> all = sets_for_tests();
  const Floats first = f(*all.front()->floats);
  for (const Kernels* kernels : all) {
    const Floats other = f(*kernels->floats);
    EXPECT_EQ(std::memcmp(first.data(), other.data(), first.size() * sizeof(float)), 0) << kernels->name;
  }
  return first;
}

TEST(FloatOps, ExpIsAccurate) {
  Floats x;
  for (float v = -87; v <= 88; v += 0.00917F) x.push_back(v);
  const Floats y = on_every_isa([&](const FloatKernels& k) {
    Floats out(x.size());
    k.exp(x.data(), x.size(), out.data());
    return out;
  });
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    worst = std::max(worst, std::fabs(y[i] - exact) / exact);
  }
  EXPECT_LE(worst, 1.2 * std::ldexp(1.0, -23));
}

TEST(FloatOps, ExpEdges) {
  const Floats x = {0.0F, -0.0F, 1000.0F, -1000.0F, HUGE_VALF, -HUGE_VALF, NAN};
  for (const Kernels* kernels : sets_for_tests()) {
    Floats y(x.size());
    kernels->floats->exp(x.data(), x.size(), y.data());
    EXPECT_EQ(y[0], 1.0F);
    EXPECT_EQ(y[1], 1.0F);
    EXPECT_GT(y[2], 1e38F);
    EXPECT_LT(y[3], 2e-38F);
    EXPECT_EQ(y[4], y[2]);
    EXPECT_EQ(y[5], y[3]);
    EXPECT_TRUE(std::isnan(y[6])) << kernels->name;
  }
}

TEST(FloatOps, RmsNorm) {
  for (size_t n : {1, 15, 16, 17, 64, 100, 1536}) {
    const Floats x = random_floats(n, 3, 1), w = random_floats(n, 1, 2);
    const Floats y = on_every_isa([&](const FloatKernels& k) {
      Floats out = x;
      k.rms_norm(out.data(), w.data(), 1e-5F, n, out.data());
      return out;
    });
    double mean = 0;
    for (float v : x) mean += static_cast<double>(v) * v / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      const double exact = x[i] / std::sqrt(mean + 1e-5) * w[i];
      EXPECT_NEAR(y[i], exact, 1e-6 * std::fabs(exact)) << n;
    }
  }
}

// docs/numerics.md, "The order of sums", by the rule and not by the kernel's code.
TEST(FloatOps, RmsNormAddsInTheSpecifiedOrder) {
  for (size_t n : {1, 63, 64, 80, 576, 1000}) {
    const Floats x = random_floats(n, 3, 11), ones(n, 1.0F);
    Floats chain(64);
    for (size_t i = 0; i < n; ++i) chain[i % 64] = std::fma(x[i], x[i], chain[i % 64]);
    for (size_t half = 32; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) chain[i] = chain[i] + chain[i + half];
    }
    const float factor = 1.0F / std::sqrt(chain[0] / static_cast<float>(n) + 1e-5F);
    const Floats y = on_every_isa([&](const FloatKernels& k) {
      Floats out(n);
      k.rms_norm(x.data(), ones.data(), 1e-5F, n, out.data());
      return out;
    });
    for (size_t i = 0; i < n; ++i) EXPECT_EQ(y[i], x[i] * factor) << n;
  }
}

TEST(FloatOps, ActivationsAndSums) {
  for (size_t n : {1, 16, 37}) {
    const Floats g = random_floats(n, 4, 3), u = random_floats(n, 1, 4);
    const auto run = [&](auto f) {
      return on_every_isa([&](const FloatKernels& k) {
        Floats y = g;
        f(k, y);
        return y;
      });
    };
    const Floats silu = run([&](const FloatKernels& k, Floats& y) { k.silu_mul(y.data(), u.data(), n, y.data()); });
    const Floats gelu =
        run([&](const FloatKernels& k, Floats& y) { k.gelu_tanh_mul(y.data(), u.data(), n, y.data()); });
    const Floats sum = run([&](const FloatKernels& k, Floats& y) { k.add(u.data(), n, y.data()); });
    const Floats capped = run([&](const FloatKernels& k, Floats& y) { k.softcap(5.0F, n, y.data()); });
    for (size_t i = 0; i < n; ++i) {
      const double x = g[i];
      const double tanh_form = 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      EXPECT_NEAR(silu[i], x / (1 + std::exp(-x)) * u[i], 1e-6 * std::fabs(x * u[i]));
      EXPECT_NEAR(gelu[i], tanh_form * u[i], 1e-6 * std::fabs(x * u[i]));
      EXPECT_EQ(sum[i], g[i] + u[i]);
      EXPECT_NEAR(capped[i], 5 * std::tanh(x / 5), 2e-6);
    }
  }
}

TEST(FloatOps, Rope) {
  for (size_t pairs : {0, 1, 10, 32}) {
    const Floats head = random_floats(2 * pairs + 6, 1, 5), angle = random_floats(pairs, 3, 6);
    Floats cos, sin;
    for (float a : angle) {
      cos.push_back(std::cos(a));
      sin.push_back(std::sin(a));
    }
    for (const bool split : {false, true}) {
      const Floats y = on_every_isa([&](const FloatKernels& k) {
        Floats out = head;
        (split ? k.rope_split : k.rope_interleaved)(cos.data(), sin.data(), pairs, out.data());
        return out;
      });
      for (size_t i = 0; i < pairs; ++i) {
        const size_t a = split ? i : 2 * i, b = split ? i + pairs : 2 * i + 1;
        EXPECT_NEAR(y[a], head[a] * cos[i] - head[b] * sin[i], 1e-6);
        EXPECT_NEAR(y[b], head[b] * cos[i] + head[a] * sin[i], 1e-6);
      }
      for (size_t i = 2 * pairs; i < y.size(); ++i) EXPECT_EQ(y[i], head[i]);  // dimensions that are not rotated
    }
  }
}

}  // namespace
}  // namespace s3d
