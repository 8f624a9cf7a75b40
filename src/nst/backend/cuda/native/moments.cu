// Sums of maps over all places, per channel: means for the moment losses, bias gradients.
#include "vectors.cuh"
#include "reduce.cuh"

// partials[chunk][cp]: the sums over one of `chunks` equal ranges of places, weighed unless `weights` is null.
// Threads: chunks * cp / 8.
NST_KERNEL(channel_sums)(const Element* __restrict__ x, const float* __restrict__ weights,
                         double* __restrict__ partials, Index positions, Index cp, Index chunks) {
  const int groups = (int)(cp / 8);
  Index chunk = thread_number();
  if (chunk >= chunks * groups) return;
  const int group = take(chunk, groups);
  const Index length = (positions + chunks - 1) / chunks;
  const Index begin = chunk * length, end = min(begin + length, positions);
  double sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (Index position = begin; position < end; ++position) {
    const Eight values = load(x, position * groups + group);
    const float weight = weights ? weights[position] : 1.f;
    NST_EACH_CHANNEL sums[k] += weight * values.at[k];
  }
  NST_EACH_CHANNEL partials[chunk * cp + group * 8 + k] = sums[k];
}

// out[channel * stride] = scale * sum of the chunks, or += with `adds`. One block per channel.
NST_KERNEL(finish_channel_sums)(const double* __restrict__ partials, float* __restrict__ out, Index cp, Index chunks,
                                Index stride, float scale, Index adds) {
  const Index channel = blockIdx.x;
  reduce_block<double>(
      true,
      [=] {
        double sum = 0;
        for (Index chunk = threadIdx.x; chunk < chunks; chunk += blockDim.x) sum += partials[chunk * cp + channel];
        return sum;
      },
      [=](double sum) { out[channel * stride] = (float)(scale * sum + (adds ? out[channel * stride] : 0.f)); });
}

// dx = alpha * dx + factor * shift of its channel: the gradient of a mean. Threads: positions * cp / 8.
NST_KERNEL(add_channels)(Element* __restrict__ dx, const float* __restrict__ shift, Index stride, Index positions,
                         Index c, Index cp, float alpha, float factor) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  if (i >= positions * groups) return;
  Index rest = i;
  const int first = 8 * take(rest, groups);
  Eight values = zeros();
  if (alpha != 0.f) values = load(dx, i);
  NST_EACH_CHANNEL values.at[k] =
      alpha * values.at[k] + (first + k < c ? factor * shift[(first + k) * stride] : 0.f);
  store(dx, i, values);
}
