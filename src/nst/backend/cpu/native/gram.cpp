// Gram matrix of blocked features, only the half that is needed, and its gradient.
//
// Partial sums belong to fixed pieces of the picture, chosen by its size alone, and are added in a fixed order:
// the number of threads does not change a bit.
#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "microkernel.h"

namespace nst {
namespace {

constexpr int64_t kChunk = 160;  // pixels whose 16 channels stay in the L1 cache for all partners

// Rows [first, last) of channel blocks against all blocks before and including them, over pixels [begin, end).
void partial_gram(const float* source, int64_t pixels, int64_t begin, int64_t end, int64_t first,
                  int64_t last, int64_t side, float* sums) {
  for (int64_t i = first; i < last; ++i) std::memset(sums + i * kBlock * side, 0, sizeof(float) * kBlock * side);
  for (int64_t p = begin; p < end; p += kChunk) {
    const int64_t count = std::min(kChunk, end - p);
    for (int64_t i = first; i < last; ++i)
      for (int64_t j = 0; j <= i; ++j)
        for (int r0 = 0; r0 < kBlock; r0 += kOuterRows) {
          Vec acc[kOuterRows][kVecs] = {};
          const float* const rows = source + (i * pixels + p) * kBlock + r0;
          accumulate_outer<kOuterRows>(
              acc, count, [&](int64_t q, int r) { return rows[q * kBlock + r]; },
              source + (j * pixels + p) * kBlock, kBlock);
          for (int r = 0; r < kOuterRows; ++r)
            for (int v = 0; v < kVecs; ++v) {
              float* const place = sums + (i * kBlock + r0 + r) * side + j * kBlock + v * kLanes;
              store(place, load(place) + acc[r][v]);
            }
        }
  }
}

}  // namespace

void gram(Engine& engine, const float* source, float* gram, int64_t channels, int64_t pixels, float scale) {
  const int64_t side = padded(channels), blocks = side / kBlock;
  const bool wide = blocks >= 32;  // enough rows of blocks to share out; else share out the pixels
  const int64_t pieces = wide ? 1 : std::clamp<int64_t>(pixels / 1024, 1, 16);
  const int64_t groups = wide ? blocks : 1;
  float* const sums = engine.arena.take(pieces * side * side);
  engine.pool.run(pieces * groups, [&](int64_t task, int) {
    const int64_t piece = task % pieces, last = groups - 1 - task / pieces;  // the longest rows first
    partial_gram(source, pixels, pixels * piece / pieces, pixels * (piece + 1) / pieces, wide ? last : 0,
                 wide ? last + 1 : blocks, side, sums + piece * side * side);
  });
  engine.pool.run(channels, [&](int64_t i, int) {
    for (int64_t j = 0; j <= i; ++j) {
      float total = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) total += sums[(piece * side + i) * side + j];
      gram[i * channels + j] = total * scale;
    }
  });
  engine.pool.run(channels, [&](int64_t i, int) {
    for (int64_t j = i + 1; j < channels; ++j) gram[i * channels + j] = gram[j * channels + i];
  });
}

void gram_backward(Engine& engine, const float* d, const float* source, float* target, int64_t channels,
                   int64_t pixels, float scale, bool accumulate) {
  const int64_t side = padded(channels), filter = side * side;
  const auto symmetric = std::unique_ptr<float, decltype(&release)>(
      static_cast<float*>(allocate(sizeof(float) * 2 * filter)), release);
  float* const weights = symmetric.get();
  float* const packed = weights + filter;
  engine.pool.run(channels, [&](int64_t i, int) {
    for (int64_t j = 0; j < channels; ++j)
      weights[i * channels + j] = scale * (d[i * channels + j] + d[j * channels + i]);
  });
  const nst_conv pointwise = {1, channels, channels, 1, pixels, 1, pixels, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0};
  convolution_pack(engine, pointwise, false, weights, packed);
  convolution(engine, pointwise, false,
              {source, nullptr, packed, nullptr, target, accumulate ? NST_ACCUMULATE : 0});
}

}  // namespace nst
