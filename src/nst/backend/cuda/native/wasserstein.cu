// The squared Wasserstein distance of normal distributions (layers/wasserstein_loss.py) by matrix products alone.
//
// S is the covariance of the features, R the root of the target's, M = R S R. Steps with p(X) = a + b X + c X^2,
//   Y, Z -> Y p(ZY), p(ZY) Z   from   Y = M / |M|, Z = I,
// take Y to (M / |M|)^1/2 and Z to its inverse. cuBLAS does the products, these kernels what is between them, all in
// double precision. `target` is the target's mean (c values), then its trace, the ridge of both covariances, and the
// factor of the loss; `square` is |M|^2. Matrices are c x c, moments c x (1 + c) with the means in column 0.
#include "vectors.cuh"
#include "reduce.cuh"

#define NST_SETTLED 1e-4  // of ZY - I before the last step, which leaves its cube: a root that is off by 1 is 1/c here

// s = y[:, 1:] - m m^T + ridge, of the symmetric part of y[:, 1:]. Threads: c * c.
NST_KERNEL(w2_covariance)(const float* __restrict__ y, const double* __restrict__ target, double* __restrict__ s,
                          Index c) {
  Index i = thread_number();
  if (i >= c * c) return;
  const Index column = take(i, (int)c), row = i, width = 1 + c;
  const double both = (double)y[row * width + 1 + column] + (double)y[column * width + 1 + row];
  const double means = (double)y[row * width] * (double)y[column * width];
  s[row * c + column] = both / 2 - means + (row == column ? target[c + 1] : 0.0);
}

// y = the symmetric part of m, over |M|, and z = I. Threads: c * c.
NST_KERNEL(w2_normalise)(const double* __restrict__ m, const double* __restrict__ square, double* __restrict__ y,
                         double* __restrict__ z, Index c) {
  Index i = thread_number();
  if (i >= c * c) return;
  const Index column = take(i, (int)c), row = i;
  y[row * c + column] = (m[row * c + column] + m[column * c + row]) / 2 / sqrt(*square);
  z[row * c + column] = row == column ? 1.0 : 0.0;
}

// p(x) in place of x2 = x x. *unsettled, unless null, counts values of x that are not yet those of I. Threads: c * c.
NST_KERNEL(w2_polynomial)(const double* __restrict__ x, double* __restrict__ x2, unsigned* __restrict__ unsettled,
                          Index c, double constant, double linear, double quadratic) {
  const Index i = thread_number();
  if (i >= c * c) return;
  const double identity = i / c == i % c ? 1.0 : 0.0, value = x[i];
  x2[i] = constant * identity + linear * value + quadratic * x2[i];
  if (unsettled && !(fabs(value - identity) <= NST_SETTLED)) atomicAdd(unsettled, 1u);  // NaN counts
}

// *loss = factor * (|m - m*|^2 + tr(S + T - 2 M^1/2)), with root = (M / |M|)^1/2. One block.
NST_KERNEL(w2_loss)(const float* __restrict__ y, const double* __restrict__ target, const double* __restrict__ s,
                    const double* __restrict__ root, const double* __restrict__ square, float* __restrict__ loss,
                    Index c) {
  const double scale = sqrt(sqrt(*square));
  reduce_block<double>(
      true,
      [=] {
        double sum = 0;
        NST_STRIDE(i, c) {
          const double shift = (double)y[i * (1 + c)] - target[i];
          sum += shift * shift + s[i * (1 + c)] - 2 * scale * root[i * (1 + c)];
        }
        return sum;
      },
      [=](double sum) { *loss = (float)(target[c + 2] * (sum + target[c])); });
}

// dy = weight * factor * (2 (m - m*) - 2 dS m, dS), dS = I - inverse / |M|^1/2, inverse = R (M / |M|)^-1/2 R; added to
// dy if `adds`. Threads: c * (1 + c).
NST_KERNEL(w2_gradient)(const float* __restrict__ y, const double* __restrict__ target,
                        const double* __restrict__ inverse, const double* __restrict__ square,
                        const float* __restrict__ weight, float* __restrict__ dy, Index c, Index adds) {
  Index i = thread_number();
  const Index width = 1 + c;
  if (i >= c * width) return;
  const Index column = take(i, (int)width), row = i;
  const double share = 1.0 / sqrt(sqrt(*square));
  double value = 0;
  if (column > 0) {
    value = (column - 1 == row ? 1.0 : 0.0) - share * inverse[row * c + column - 1];
  } else {
    for (Index k = 0; k < c; ++k) value += share * inverse[row * c + k] * (double)y[k * width];
    value = 2 * (value - target[row]);  // the shift m - m* and the m of -I m cancel
  }
  float* const place = dy + row * width + column;
  const float result = (float)((double)*weight * target[c + 2] * value);
  *place = adds ? *place + result : result;
}
