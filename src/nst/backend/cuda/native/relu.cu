// Pointwise work on maps: ReLU, its mask (one byte per group: bit k says that channel k is positive), sums, bias.
// One thread per group; outputs may be inputs.
#include "vectors.cuh"

NST_KERNEL(relu)(const Element* x, Element* y, float slope, Index groups) {
  const Index i = thread_number();
  if (i >= groups) return;
  Eight values = load(x, i);
  NST_EACH_CHANNEL values.at[k] = values.at[k] < 0.f ? slope * values.at[k] : values.at[k];
  store(y, i, values);
}

NST_KERNEL(mask_bits)(const Element* __restrict__ y, unsigned char* __restrict__ bits, Index groups) {
  const Index i = thread_number();
  if (i < groups) bits[i] = (unsigned char)positive_bits(load(y, i));
}

// y = y + bias, rectified if asked. bias: float32, cp of them.
NST_KERNEL(bias_relu)(Element* y, const float* __restrict__ bias, Index groups, Index cp, Index rectifies) {
  const Index i = thread_number();
  if (i >= groups) return;
  Index rest = i;
  const float* const added = bias + 8 * take(rest, (int)(cp / 8));
  Eight values = load(y, i);
  NST_EACH_CHANNEL {
    values.at[k] += added[k];
    if (rectifies) values.at[k] = values.at[k] < 0.f ? 0.f : values.at[k];
  }
  store(y, i, values);
}

// out = gate * factor * (alpha * a + beta * b): scaling, sums of gradients, and the ReLU they pass.
//   b       null, or the second term
//   factor  *scalar, a float of the device; 1 where scalar is null
//   gate    1 where positive, else slope: read from the map y, or from bits, or 1 where both are null
// Powers of two as factors rescale exactly.
NST_KERNEL(combine)(const Element* a, float alpha, const Element* b, float beta, const float* __restrict__ scalar,
                    const Element* y, const unsigned char* __restrict__ bits, float slope, Element* out,
                    Index groups) {
  const Index i = thread_number();
  if (i >= groups) return;
  Eight values = load(a, i);
  NST_EACH_CHANNEL values.at[k] *= alpha;
  if (b) {
    const Eight others = load(b, i);
    NST_EACH_CHANNEL values.at[k] += beta * others.at[k];
  }
  if (scalar) {
    const float factor = *scalar;
    NST_EACH_CHANNEL values.at[k] *= factor;
  }
  if (y || bits) {
    const unsigned gate = y ? positive_bits(load(y, i)) : bits[i];
    if (slope == 0.f) {
      values = masked(values, gate);
    } else {
      NST_EACH_CHANNEL values.at[k] *= (gate >> k) & 1u ? 1.f : slope;
    }
  }
  store(out, i, values);
}
