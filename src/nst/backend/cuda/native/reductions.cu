// Sums and maxima over maps. Grids stride: the caller launches 1024 blocks at most, and gives one partial per block.
#include "vectors.cuh"
#include "reduce.cuh"

// partials[block] = its share of sum (alpha * a - beta * b)^2. Eight squares are added in float, groups in double.
NST_KERNEL(squared_distance)(const Element* __restrict__ a, float alpha, const Element* __restrict__ b, float beta,
                             double* __restrict__ partials, Index groups) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, groups) {
      const Eight left = load(a, i), right = load(b, i);
      float square = 0.f;
      NST_EACH_CHANNEL {
        const float difference = alpha * left.at[k] - beta * right.at[k];
        square += difference * difference;
      }
      sum += square;
    }
    return sum;
  });
}

// *out = the largest absolute value, as the bits of a float >= 0, joined with what was there (the caller begins with
// 0). Anything that is not finite comes out as infinity.
NST_KERNEL(amax)(const Element* __restrict__ x, unsigned* __restrict__ out, Index groups) {
  reduce_block<unsigned>(
      false,
      [=] {
        unsigned largest = 0;
        NST_STRIDE(i, groups) {
          const Eight values = load(x, i);
          NST_EACH_CHANNEL largest = max(largest, float_bits(values.at[k]) & 0x7fffffffu);
        }
        return min(largest, 0x7f800000u);  // NaN has larger bits
      },
      [=](unsigned largest) {
        if (largest) atomicMax(out, largest);
      });
}

// *counter += how many values are not finite.
NST_KERNEL(non_finite)(const Element* __restrict__ x, unsigned* __restrict__ counter, Index groups) {
  reduce_block<unsigned>(
      true,
      [=] {
        unsigned count = 0;
        NST_STRIDE(i, groups) {
          const Eight values = load(x, i);
          NST_EACH_CHANNEL count += (float_bits(values.at[k]) & 0x7fffffffu) >= 0x7f800000u;
        }
        return count;
      },
      [=](unsigned count) {
        if (count) atomicAdd(counter, count);
      });
}
