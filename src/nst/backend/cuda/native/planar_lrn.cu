// Local response normalisation of planar arrays, float32 or float64: one thread per value (see lrn.cu).
#include "vectors.cuh"

template <class Term>
NST_INLINE Real channel_sum(int channel, int channels, int size, Term term) {
  const int end = min(channel + (size - 1) / 2 + 1, channels);
  Real sum = 0;
  for (int other = max(channel - size / 2, 0); other < end; ++other) sum += term(other - channel);
  return sum;
}

NST_KERNEL(planar_lrn)(const Real* __restrict__ x, Real* __restrict__ scale, Real* __restrict__ y, Index n, Index c,
                       Index places, Index size, double alpha, double beta, double k) {
  const Index i = thread_number();
  if (i >= n * c * places) return;
  Index image = i;
  take(image, (int)places);
  const int channel = take(image, (int)c);
  const Real sum = channel_sum(channel, (int)c, (int)size, [=](int shift) {
    const Real value = x[i + shift * places];
    return value * value;
  });
  scale[i] = (Real)k + (Real)alpha / (Real)size * sum;
  y[i] = x[i] * pow(scale[i], -(Real)beta);
}

NST_KERNEL(planar_lrn_backward)(const Real* __restrict__ x, const Real* __restrict__ y, const Real* __restrict__ scale,
                                const Real* __restrict__ dy, Real* __restrict__ dx, Index n, Index c, Index places,
                                Index size, double alpha, double beta) {
  const Index i = thread_number();
  if (i >= n * c * places) return;
  Index image = i;
  take(image, (int)places);
  const int channel = take(image, (int)c);
  const Real cross = channel_sum(channel, (int)c, (int)size, [=](int shift) {
    const Index other = i + shift * places;
    return dy[other] * y[other] / scale[other];
  });
  dx[i] = dy[i] * pow(scale[i], -(Real)beta) - 2 * (Real)alpha * (Real)beta / (Real)size * x[i] * cross;
}
