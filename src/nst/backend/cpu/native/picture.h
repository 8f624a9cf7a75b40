// The zero-padded planar copy of a picture that the first layer's kernels read without bounds checks.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "nst_cpu.h"
#include "simd.h"

namespace nst {

// Pixels and vectors of the first layer's register tile: enough sums to hide the latency of an FMA.
constexpr int kPictureVecs = kLanes == 16 ? 1 : 2;
constexpr int kPicturePixels = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 5;

// (channel, tap) pairs of a convolution, the columns of its weights.
inline int64_t pairs(const nst_conv& c) { return c.in_channels * c.kernel_h * c.kernel_w; }

struct PaddedPicture {
  int64_t channels, height, width;

  explicit PaddedPicture(const nst_conv& c)
      : channels(c.in_channels),
        height((c.out_h - 1) * c.stride_h + (c.kernel_h - 1) * c.dilation_h + 1),
        width((round_up(c.out_w, kPicturePixels) - 1) * c.stride_w + (c.kernel_w - 1) * c.dilation_w + 1) {}

  int64_t floats() const { return channels * height * width; }

  // Images that are copied at a time, so that small ones do not wait for each other's threads.
  int64_t images_at_a_time(const nst_conv& c) const {
    constexpr int64_t kFloats = int64_t{1} << 20;
    return std::clamp<int64_t>(kFloats / floats(), 1, c.images);
  }

  // Row `row` of channels * height rows.
  void copy_row(const nst_conv& c, const float* picture, int64_t row, float* copy) const {
    const int64_t channel = row / height, y = row % height - c.pad_h;
    float* const line = copy + row * width;
    std::memset(line, 0, sizeof(float) * width);
    const int64_t count = std::min(c.in_w, width - c.pad_w);
    if (y < 0 || y >= c.in_h || count <= 0) return;
    std::memcpy(line + c.pad_w, picture + (channel * c.in_h + y) * c.in_w, sizeof(float) * count);
  }

  // Where pair q reads, relative to the copy's pixel (out_y * stride_h, out_x * stride_w).
  std::vector<int64_t> offsets(const nst_conv& c) const {
    std::vector<int64_t> result;
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t i = 0; i < c.kernel_h; ++i)
        for (int64_t j = 0; j < c.kernel_w; ++j)
          result.push_back((channel * height + i * c.dilation_h) * width + j * c.dilation_w);
    return result;
  }
};

}  // namespace nst
