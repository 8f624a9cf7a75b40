// Steps of solvers on planar arrays, float32 or float64, operation by operation in the order of the reference
// (backend/interface.py). One thread per value.
#include "vectors.cuh"
#include "reduce.cuh"

// history = momentum * history + rate * diff; diff = history; data -= diff.
NST_KERNEL(sgd_step)(Real* __restrict__ data, Real* __restrict__ diff, Real* __restrict__ history, Index count,
                     double rate, double momentum) {
  const Index i = thread_number();
  if (i >= count) return;
  const Real step = (Real)momentum * history[i] + (Real)rate * diff[i];
  history[i] = step;
  diff[i] = step;
  data[i] -= step;
}

// mean and square move towards diff and its square; diff = rate * mean / (sqrt(square) + delta); data -= diff. The
// rate holds the correction of the bias.
NST_KERNEL(adam_step)(Real* __restrict__ data, Real* __restrict__ diff, Real* __restrict__ mean,
                      Real* __restrict__ square, Index count, double rate, double beta1, double beta2, double delta) {
  const Index i = thread_number();
  if (i >= count) return;
  const Real gradient = diff[i];
  const Real m = mean[i] * (Real)beta1 + (Real)(1 - beta1) * gradient;
  const Real v = square[i] * (Real)beta2 + (Real)(1 - beta2) * gradient * gradient;
  mean[i] = m;
  square[i] = v;
  const Real step = m / ((Real)sqrt(v) + (Real)delta) * (Real)rate;
  diff[i] = step;
  data[i] -= step;
}

// y = (y + alpha * x) * gate, and partials of y.z; gate may be null, z may be y. A grid that strides.
NST_KERNEL(axpy_dot)(const Real* __restrict__ x, Real* y, const Real* z, const Real* __restrict__ gate,
                     double* __restrict__ partials, Index count, double alpha) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, count) {
      Real value = y[i] + (Real)alpha * x[i];
      if (gate) value *= gate[i];
      y[i] = value;
      sum += (double)value * (double)z[i];
    }
    return sum;
  });
}
