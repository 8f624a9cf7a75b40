// Between Caffe's planar float32 arrays (N, C, H, W) and maps (N, H, W, CP); ranges of channels.
#include "vectors.cuh"

// map = scale * planar, zeros in the channels beyond c. Threads: n * h * w * cp / 8, neighbours side by side in a plane.
NST_KERNEL(to_map)(const float* __restrict__ planar, Element* __restrict__ map, Index n, Index c, Index h, Index w,
                   Index cp, float scale) {
  const Index places = h * w, groups = cp / 8;
  Index rest = thread_number();
  if (rest >= n * places * groups) return;
  const int place = take(rest, (int)places), group = take(rest, (int)groups);
  const int valid = (int)min(c - 8 * group, (Index)8);
  const float* const source = planar + (rest * c + 8 * group) * places + place;
  Eight values;
  NST_EACH_CHANNEL values.at[k] = k < valid ? scale * source[k * places] : 0.f;
  store(map, (rest * places + place) * groups + group, values);
}

// planar = scale * map, or += with `adds`. Threads as in to_map.
NST_KERNEL(to_planar)(const Element* __restrict__ map, float* __restrict__ planar, Index n, Index c, Index h, Index w,
                      Index cp, float scale, Index adds) {
  const Index places = h * w, groups = cp / 8;
  Index rest = thread_number();
  if (rest >= n * places * groups) return;
  const int place = take(rest, (int)places), group = take(rest, (int)groups);
  const int valid = (int)min(c - 8 * group, (Index)8);
  float* const target = planar + (rest * c + 8 * group) * places + place;
  const Eight values = load(map, (rest * places + place) * groups + group);
  NST_EACH_CHANNEL if (k < valid) target[k * places] = scale * values.at[k] + (adds ? target[k * places] : 0.f);
}

// Concatenation and slices: `channels` channels of every place, one thread each; ranges may begin anywhere.
NST_KERNEL(copy_channels)(const Element* __restrict__ source, Index source_cp, Index source_first,
                          Element* __restrict__ target, Index target_cp, Index target_first, Index channels,
                          Index positions, float scale, Index adds) {
  Index position = thread_number();
  if (position >= positions * channels) return;
  const int channel = take(position, (int)channels);
  Element* const place = target + position * target_cp + target_first + channel;
  const float value = scale * widen(source[position * source_cp + source_first + channel]);
  *place = narrow(adds ? value + widen(*place) : value);
}
