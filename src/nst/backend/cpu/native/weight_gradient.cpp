// Gradients of a convolution with respect to its weights and bias, added to Caffe's layout (K, C, kh, kw).
//
// Between blocked arrays they are sums of outer products (weight_products.h). A picture of few channels is read
// in place: its sums run over a chunk of rows in registers and are then added to the total.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "microkernel.h"
#include "picture.h"
#include "weight_forms.h"

namespace nst {
namespace {

// Rows of a chunk: about 256 pixels, so that 16 channels of both operands stay in the L1 cache.
int64_t chunk_rows(const nst_conv& c) { return std::max<int64_t>(1, 256 / c.out_w); }

template <int R>
void add_to(float* total, const Vec (&acc)[R][kVecs]) {
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < kVecs; ++v) {
      float* const place = total + r * kBlock + v * kLanes;
      store(place, load(place) + acc[r][v]);
    }
}

}  // namespace

void weight_gradient(Engine& engine, const nst_conv& c, const float* source, const float* gradient,
                     float* weights) {
  if (WinogradForm::takes(c)) {
    const WinogradForm form(c, source, gradient);
    WeightProducts<WinogradForm>(engine, c, form, weights).run();
  } else {
    const TapForm form(c, source, gradient);
    WeightProducts<TapForm>(engine, c, form, weights).run();
  }
}

void first_layer_weight_gradient(Engine& engine, const nst_conv& c, const float* planar,
                                 const float* gradient, float* weights) {
  const PaddedPicture picture(c);
  const std::vector<int64_t> offsets = picture.offsets(c);
  const int64_t most = picture.images_at_a_time(c), lines = picture.channels * picture.height;
  float* const copy = engine.arena.take(most * picture.floats());
  const int64_t groups = ceil_div(pairs(c), kOuterRows), rows = chunk_rows(c);
  for (int64_t begin = 0; begin < c.images; begin += most) {
    const int64_t images = std::min(most, c.images - begin);
    engine.pool.run(images * lines, [&](int64_t task, int) {
      const int64_t n = task / lines;
      picture.copy_row(c, planar + (begin + n) * c.in_channels * c.in_h * c.in_w, task % lines,
                       copy + n * picture.floats());
    });
    engine.pool.run(padded(c.out_channels) / kBlock * groups, [&](int64_t task, int) {
      const int64_t block = task / groups, first = task % groups * kOuterRows;
      alignas(64) float totals[kOuterRows * kBlock] = {};
      int64_t offset[kOuterRows];
      for (int r = 0; r < kOuterRows; ++r) offset[r] = offsets[std::min(first + r, pairs(c) - 1)];
      for (int64_t n = 0; n < images; ++n)
        for (int64_t y0 = 0; y0 < c.out_h; y0 += rows) {
          Vec acc[kOuterRows][kVecs] = {};
          for (int64_t y = y0; y < std::min(c.out_h, y0 + rows); ++y) {
            const float* const line = copy + n * picture.floats() + y * c.stride_h * picture.width;
            accumulate_outer<kOuterRows>(
                acc, c.out_w, [&](int64_t p, int r) { return line[offset[r] + p * c.stride_w]; },
                gradient + (begin + n) * c.out_stride + (block * c.out_h + y) * c.out_w * kBlock, kBlock);
          }
          add_to(totals, acc);
        }
      for (int64_t k = block * kBlock; k < std::min(c.out_channels, (block + 1) * kBlock); ++k)
        for (int64_t q = first; q < std::min(pairs(c), first + kOuterRows); ++q)
          weights[k * pairs(c) + q] += totals[(q - first) * kBlock + k % kBlock];
    });
  }
}

void bias_gradient(Engine& engine, const nst_conv& c, const float* gradient, float* bias) {
  engine.pool.run(padded(c.out_channels) / kBlock, [&](int64_t block, int) {
    double totals[kBlock] = {};
    for (int64_t n = 0; n < c.images; ++n)
      for (int64_t y = 0; y < c.out_h; ++y) {
        const float* const row = gradient + n * c.out_stride + (block * c.out_h + y) * c.out_w * kBlock;
        Vec sums[kVecs] = {};
        for (int64_t x = 0; x < c.out_w; ++x)
          for (int v = 0; v < kVecs; ++v) sums[v] += load(row + x * kBlock + v * kLanes);
        for (int v = 0; v < kBlock; ++v) totals[v] += sums[v / kLanes][v % kLanes];
      }
    const int64_t count = std::min<int64_t>(kBlock, c.out_channels - block * kBlock);
    for (int64_t k = 0; k < count; ++k) bias[block * kBlock + k] += static_cast<float>(totals[k]);
  });
}

}  // namespace nst
