// Flat vector steps of any alignment. Sums are accumulated in double over fixed chunks and added in order.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

constexpr int64_t kChunk = 16384;  // elements per task; a short vector is one task and wakes no thread

template <class Body>
void for_each_chunk(Engine& engine, int64_t n, Body body) {
  engine.pool.run(ceil_div(n, kChunk), [&](int64_t task, int) {
    body(task * kChunk, std::min(n, (task + 1) * kChunk));
  });
}

// Elementwise: vector(i) for whole vectors, then the same on single lanes by way of a small buffer.
template <class Rule>
void map(Engine& engine, const float* x, const float* y, float* out, int64_t n, Rule rule) {
  for_each_chunk(engine, n, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      store_unaligned(out + i, rule(load_unaligned(x + i), load_unaligned(y + i)));
    for (; i < end; ++i) out[i] = rule(broadcast(x[i]), broadcast(y[i]))[0];
  });
}

double chunk_dot(const float* a, const float* b, int64_t n) {
  DoubleVec sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes)
    for (int v = 0; v < 2; ++v)
      sums[v] += widen(load_unaligned(a + i + v * kLanes)) * widen(load_unaligned(b + i + v * kLanes));
  const DoubleVec sum = sums[0] + sums[1];
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

// One piece of axpy_dot; the product uses the values as they are stored.
template <bool Gated>
double chunk_axpy_dot(float alpha, const float* x, float* y, const float* z, const float* gate, int64_t n) {
  DoubleVec sum = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec value = load_unaligned(y + i) + alpha * load_unaligned(x + i);
    if (Gated) value *= load_unaligned(gate + i);
    store_unaligned(y + i, value);
    sum += widen(value) * widen(load_unaligned(z + i));
  }
  double total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) {
    y[i] = (y[i] + alpha * x[i]) * (Gated ? gate[i] : 1.f);
    total += static_cast<double>(y[i]) * z[i];
  }
  return total;
}

}  // namespace

double dot(Engine& engine, const float* a, const float* b, int64_t n) {
  std::vector<double> partial(ceil_div(n, kChunk));
  for_each_chunk(engine, n, [&](int64_t begin, int64_t end) {
    partial[begin / kChunk] = chunk_dot(a + begin, b + begin, end - begin);
  });
  double total = 0;
  for (double part : partial) total += part;
  return total;
}

void axpby(Engine& engine, float alpha, const float* x, float beta, const float* y, float* out, int64_t n) {
  map(engine, x, y, out, n, [=](Vec a, Vec b) { return alpha * a + beta * b; });
}

void axpby_relu(Engine& engine, float alpha, const float* x, float beta, const float* y, float* out,
                int64_t n) {
  map(engine, x, y, out, n, [=](Vec a, Vec b) { return maximum(alpha * a + beta * b, zero()); });
}

void scale(Engine& engine, float alpha, const float* x, float* out, int64_t n) {
  map(engine, x, x, out, n, [=](Vec a, Vec) { return alpha * a; });
}

void relu(Engine& engine, const float* x, float slope, float* out, int64_t n) {
  map(engine, x, x, out, n, [=](Vec a, Vec) { return a < zero() ? slope * a : a; });
}

void relu_backward(Engine& engine, const float* gradient, const float* x, float slope, float* out,
                   int64_t n) {
  map(engine, gradient, x, out, n, [=](Vec g, Vec a) { return a > zero() ? g : slope * g; });
}

double axpy_dot(Engine& engine, float alpha, const float* x, float* y, const float* z, const float* gate,
                int64_t n) {
  std::vector<double> partial(ceil_div(n, kChunk));
  for_each_chunk(engine, n, [&](int64_t begin, int64_t end) {
    partial[begin / kChunk] =
        gate ? chunk_axpy_dot<true>(alpha, x + begin, y + begin, z + begin, gate + begin, end - begin)
             : chunk_axpy_dot<false>(alpha, x + begin, y + begin, z + begin, nullptr, end - begin);
  });
  double total = 0;
  for (double part : partial) total += part;
  return total;
}

void sgd_step(Engine& engine, float* __restrict data, float* __restrict diff, float* __restrict history,
              int64_t n, float rate, float momentum) {
  for_each_chunk(engine, n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float step = momentum * history[i] + rate * diff[i];
      history[i] = diff[i] = step;
      data[i] -= step;
    }
  });
}

void adam_step(Engine& engine, float* __restrict data, float* __restrict diff, float* __restrict mean,
               float* __restrict square, int64_t n, const AdamRule& rule) {
  for_each_chunk(engine, n, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float m = rule.momentum * mean[i] + (1.f - rule.momentum) * diff[i];
      const float v = rule.momentum2 * square[i] + (1.f - rule.momentum2) * diff[i] * diff[i];
      const float step = rule.rate * m / (std::sqrt(v) + rule.delta);
      mean[i] = m, square[i] = v, diff[i] = step;
      data[i] -= step;
    }
  });
}

}  // namespace nst
