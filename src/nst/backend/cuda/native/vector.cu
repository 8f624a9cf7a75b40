// Flat vectors (float32; float64 where compiled for it): inner products, steps, and the last stage of every sum.
#include "vectors.cuh"
#include "reduce.cuh"

NST_KERNEL(dot)(const Real* __restrict__ a, const Real* __restrict__ b, double* __restrict__ partials, Index count) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, count) sum += (double)a[i] * (double)b[i];
    return sum;
  });
}

// Partials of a.gb and, after them, of gb.gb, with gb = gate * b: two for each block.
NST_KERNEL(gated_products)(const Real* __restrict__ a, const Real* __restrict__ b, const Real* __restrict__ gate,
                           double* __restrict__ partials, Index count) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, count) sum += (double)a[i] * (double)(gate[i] * b[i]);
    return sum;
  });
  sum_block(partials + gridDim.x, [=] {
    double sum = 0;
    NST_STRIDE(i, count) {
      const double gated = (double)(gate[i] * b[i]);
      sum += gated * gated;
    }
    return sum;
  });
}

// This thread's share of the sum of all.
NST_INLINE double share_of(const double* __restrict__ partials, Index count) {
  double sum = 0;
  NST_STRIDE(i, count) sum += partials[i];
  return sum;
}

// ONE block each. *out = scale * sum of partials, or += with `adds`.
NST_KERNEL(finish_sum)(const double* __restrict__ partials, float* __restrict__ out, Index count, double scale,
                       Index adds) {
  reduce_block<double>(
      true, [=] { return share_of(partials, count); },
      [=](double sum) { *out = (float)(scale * sum + (adds ? *out : 0.f)); });
}

// ONE block. *out = 1 / sum of partials; 1 where that is 0.
NST_KERNEL(finish_inverse)(const double* __restrict__ partials, double* __restrict__ out, Index count) {
  reduce_block<double>(
      true, [=] { return share_of(partials, count); },
      [=](double sum) { *out = sum == 0 ? 1.0 : 1.0 / sum; });
}

NST_KERNEL(finish_sum_double)(const double* __restrict__ partials, double* __restrict__ out, Index count) {
  sum_block(out, [=] { return share_of(partials, count); });
}

// y += alpha * x, times *scalar if it is not null.
NST_KERNEL(axpy)(const Real* __restrict__ x, Real* __restrict__ y, Index count, double alpha,
                 const double* __restrict__ scalar) {
  const Index i = thread_number();
  if (i >= count) return;
  const Real factor = (Real)(scalar ? alpha * *scalar : alpha);
  y[i] += factor * x[i];
}

NST_KERNEL(planar_relu)(const Real* x, Real* y, Index count, double slope) {
  const Index i = thread_number();
  if (i < count) y[i] = x[i] < 0 ? (Real)slope * x[i] : x[i];
}

NST_KERNEL(planar_relu_backward)(const Real* dy, const Real* x, Real* dx, Index count, double slope) {
  const Index i = thread_number();
  if (i < count) dx[i] = x[i] > 0 ? dy[i] : (Real)slope * dy[i];
}
