// Local response normalisation across channels, on maps. One thread per group.
//
// Maps hold real values over `unscale`; y keeps the scale of x. norm (float32, positions x cp) is what the forward pass
// leaves for the backward pass: start + alpha / size * the sum of squares over the channel's window, [c - size / 2,
// c + (size - 1) / 2].
#include "vectors.cuh"

// The sum of term(channel) over the window of a channel.
template <class Term>
NST_INLINE float window_sum(int channel, int channels, int size, Term term) {
  const int end = min(channel + (size - 1) / 2 + 1, channels);
  float sum = 0.f;
  for (int other = max(channel - size / 2, 0); other < end; ++other) sum += term(other);
  return sum;
}

NST_KERNEL(lrn)(const Element* __restrict__ x, float* __restrict__ norm, Element* __restrict__ y, Index positions,
                Index c, Index cp, Index size, float alpha, float beta, float start, float unscale) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index position = i;
  if (i >= positions * groups) return;
  const int first = 8 * take(position, groups);
  const Element* const values = x + position * cp;
  const float share = alpha / (float)size;
  Eight result = load(x, i);
  NST_EACH_CHANNEL {
    const float sum = window_sum(first + k, (int)c, (int)size, [&](int channel) {
      const float value = unscale * widen(values[channel]);
      return value * value;
    });
    const float scale = start + share * sum;
    norm[i * 8 + k] = scale;
    result.at[k] = first + k < c ? result.at[k] * powf(scale, -beta) : 0.f;
  }
  store(y, i, result);
}

// dx = dy * norm^-beta - 2 alpha beta / size * x * (window sum of dy * y / norm), in real values; linear in dy, and
// times `rescale`: where divisors are large, what is far below dy's scale.
NST_KERNEL(lrn_backward)(const Element* __restrict__ x, const Element* __restrict__ y, const float* __restrict__ norm,
                         const Element* __restrict__ dy, Element* __restrict__ dx, Index positions, Index c, Index cp,
                         Index size, float alpha, float beta, float unscale, float rescale) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index position = i;
  if (i >= positions * groups) return;
  const int first = 8 * take(position, groups);
  const Index start = position * cp;
  const float factor = 2.f * alpha * beta / (float)size;
  const Eight values = load(x, i), gradient = load(dy, i);
  Eight result;
  NST_EACH_CHANNEL {
    const float cross = window_sum(first + k, (int)c, (int)size, [&](int channel) {
      return widen(dy[start + channel]) * (unscale * widen(y[start + channel])) / norm[start + channel];
    });
    const float through = gradient.at[k] * powf(norm[i * 8 + k], -beta);
    result.at[k] = first + k < c ? rescale * (through - factor * (unscale * values.at[k]) * cross) : 0.f;
  }
  store(dx, i, result);
}
