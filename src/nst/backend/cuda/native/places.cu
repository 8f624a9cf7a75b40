// Maps weighed place by place: masks, and what statistics of a region do with them.
#include "vectors.cuh"

// out = weight of the place * (alpha * x + factor * shift of the channel * weight of the place), added to out if
// `adds`. `shift` may be null; its values are `stride` floats apart. Threads: positions * cp / 8.
NST_KERNEL(weigh_places)(const Element* __restrict__ x, const float* __restrict__ weights,
                         const float* __restrict__ shift, Index stride, Element* __restrict__ out, Index positions,
                         Index c, Index cp, float alpha, float factor, Index adds) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  if (i >= positions * groups) return;
  Index position = i;
  const int first = 8 * take(position, groups);
  const float weight = weights[position];
  Eight values = load(x, i);
  NST_EACH_CHANNEL {
    float value = alpha * values.at[k];
    if (shift && first + k < c) value += factor * shift[(first + k) * stride] * weight;
    values.at[k] = weight * value;
  }
  if (adds) {
    const Eight before = load(out, i);
    NST_EACH_CHANNEL values.at[k] += before.at[k];
  }
  store(out, i, values);
}
