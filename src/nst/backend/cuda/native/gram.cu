// Around the products of Gram matrices: an exact mirror, and the gradient's matrix in the storage of the maps.
#include "vectors.cuh"
#include "reduce.cuh"

// Copies the lower triangle of `n` c x c matrices onto the upper one. Threads: n * c * c.
NST_KERNEL(symmetrise)(float* matrices, Index n, Index c) {
  Index matrix = thread_number();
  if (matrix >= n * c * c) return;
  const int column = take(matrix, (int)c), row = take(matrix, (int)c);
  float* const values = matrices + matrix * c * c;
  if (column > row) values[row * c + column] = values[column * c + row];
}

// factors[2] = bits of max |d|, joined with what was there: the caller begins with 0. A grid that strides.
NST_KERNEL(gram_gradient_scale)(const float* __restrict__ d, float* __restrict__ factors, Index count) {
  reduce_block<unsigned>(
      false,
      [=] {
        unsigned largest = 0;
        NST_STRIDE(i, count) largest = max(largest, float_bits(d[i]) & 0x7fffffffu);
        return largest;
      },
      [=](unsigned largest) {
        if (largest) atomicMax(reinterpret_cast<unsigned*>(factors) + 2, largest);
      });
}

// out = p * (d + d^T), n matrices of c rows of cp with zeros beyond c; p a power of two such that nothing exceeds
// `target`, in factors[0], and 1/p in factors[1]. float32 keeps p = 1. Threads: n * c * cp.
NST_KERNEL(gram_gradient)(const float* __restrict__ d, Element* __restrict__ out, float* __restrict__ factors, Index n,
                          Index c, Index cp, float target) {
  const Index i = thread_number();
  if (i >= n * c * cp) return;
  Index matrix = i;
  const int column = take(matrix, (int)cp), row = take(matrix, (int)c);
  float factor = 1.f, inverse = 1.f;
#if NST_STORAGE == 1 || NST_STORAGE == 2
  const float largest = 2.f * factors[2];  // |d + d^T| is not more
  if (largest > 0.f && largest < 3e38f) {
    int exponent = (int)floorf(log2f(target / largest));
    exponent = max(-126, min(126, exponent));
    factor = ldexpf(1.f, exponent);
    inverse = ldexpf(1.f, -exponent);
  }
#endif
  if (i == 0) {
    factors[0] = factor;
    factors[1] = inverse;
  }
  const float* const values = d + matrix * c * c;
  out[i] = narrow(column < c ? factor * (values[row * c + column] + values[column * c + row]) : 0.f);
}
