// A factor and a shift per channel: normalisation by stored statistics, Scale, and their gradients.
#include "vectors.cuh"

// out = alpha * factors[channel] * x + shifts[channel] (null: 0), added to out if `adds`. Both arrays have cp values, 0
// beyond the channels. Threads: positions * cp / 8.
NST_KERNEL(affine_channels)(const Element* __restrict__ x, const float* __restrict__ factors,
                            const float* __restrict__ shifts, Element* __restrict__ out, Index positions, Index cp,
                            float alpha, Index adds) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  if (i >= positions * groups) return;
  Index position = i;
  const int first = 8 * take(position, groups);
  Eight values = load(x, i);
  NST_EACH_CHANNEL values.at[k] = alpha * factors[first + k] * values.at[k] + (shifts ? shifts[first + k] : 0.f);
  if (adds) {
    const Eight before = load(out, i);
    NST_EACH_CHANNEL values.at[k] += before.at[k];
  }
  store(out, i, values);
}
