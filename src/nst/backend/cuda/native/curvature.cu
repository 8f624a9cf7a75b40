// The two-loop recursion of L-BFGS (solvers/curvature.py) without a value that the host has to know.
//
// Each step adds a multiple of one vector to q and takes the inner product of the next with it, in one pass:
//   down  alpha = rho * s.q,  q -= alpha * y,            partials of (next s).q     newest pair to oldest
//   turn  q *= scale,                                    partials of (oldest y).q
//   up    beta = rho * y.q,   q += (alpha - beta) * s,   partials of (next y).q     oldest pair to newest
// With a gate, 0 or 1 per value, q is multiplied by it after each addition. Partials come in two arrays in turn, one
// per block, 1024 blocks at most; the first by `dot`. Grids stride.
#include "vectors.cuh"
#include "reduce.cuh"

// The sum of partials for every thread of the block.
NST_INLINE double total_of(const double* __restrict__ partials, int count) {
#ifdef NST_HOST
  static double total;
  static double* const target = &total;
#else
  __shared__ double total;
  double* const target = &total;
#endif
  reduce_block<double>(
      true,
      [=] {
        double sum = 0;
        for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partials[i];
        return sum;
      },
      [=](double sum) { *target = sum; });
  __syncthreads();
  return total;
}

// q = (q + factor * v) * gate, and partials of next.q (next may be null: nothing more to take a product with).
NST_INLINE void add_and_dot(float* __restrict__ q, const float* __restrict__ v, const float* __restrict__ next,
                            const float* __restrict__ gate, double* __restrict__ partials, float factor, Index count) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, count) {
      const float value = (q[i] + factor * v[i]) * (gate ? gate[i] : 1.f);
      q[i] = value;
      if (next) sum += (double)next[i] * (double)value;
    }
    return sum;
  });
}

NST_KERNEL(curvature_down)(float* __restrict__ q, const float* __restrict__ y, const float* __restrict__ next_s,
                           const float* __restrict__ gate, const double* __restrict__ partials,
                           double* __restrict__ next_partials,
                           const double* __restrict__ rho, double* __restrict__ alpha, Index blocks, Index count) {
  const double a = *rho * total_of(partials, (int)blocks);
  if (thread_number() == 0) *alpha = a;
  add_and_dot(q, y, next_s, gate, next_partials, (float)-a, count);
}

NST_KERNEL(curvature_turn)(float* __restrict__ q, const float* __restrict__ first_y,
                           double* __restrict__ partials, const double* __restrict__ scale, Index count) {
  const float factor = (float)*scale;
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, count) {
      const float value = q[i] * factor;
      q[i] = value;
      sum += (double)first_y[i] * (double)value;
    }
    return sum;
  });
}

NST_KERNEL(curvature_up)(float* __restrict__ q, const float* __restrict__ s, const float* __restrict__ next_y,
                         const float* __restrict__ gate, const double* __restrict__ partials,
                         double* __restrict__ next_partials,
                         const double* __restrict__ rho, const double* __restrict__ alpha, Index blocks,
                         Index count) {
  const double beta = *rho * total_of(partials, (int)blocks);
  add_and_dot(q, s, next_y, gate, next_partials, (float)(*alpha - beta), count);
}
