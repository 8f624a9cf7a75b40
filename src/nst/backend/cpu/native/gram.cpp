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

// Adds up the pieces of one row of 16 x 16 tiles, up to the diagonal, and writes each tile and its mirror image.
void write_symmetric(const float* sums, int64_t pieces, int64_t side, int64_t block, float scale, int64_t channels,
                     float* gram) {
  for (int64_t i = block * kBlock; i < std::min(channels, (block + 1) * kBlock); ++i)
    for (int64_t j = 0; j <= i; ++j) {
      float total = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) total += sums[(piece * side + i) * side + j];
      gram[i * channels + j] = total * scale;
    }
  for (int64_t j = 0; j < std::min(channels, (block + 1) * kBlock); ++j)
    for (int64_t i = std::max(block * kBlock, j + 1); i < std::min(channels, (block + 1) * kBlock); ++i)
      gram[j * channels + i] = gram[i * channels + j];
}

// scale * (d + d^T) in rows [i, i + 16) of column j, `step` floats apart; zero beyond the channels. Both reads
// stay within 16 cache lines while j runs.
void pack_symmetric(const float* d, int64_t channels, int64_t i, int64_t j, float scale, float* column, int step) {
  for (int64_t r = 0; r < kBlock; ++r, column += step)
    *column = i + r < channels && j < channels ? scale * (d[(i + r) * channels + j] + d[j * channels + i + r]) : 0.f;
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
  engine.pool.run(blocks, [&](int64_t block, int) {
    write_symmetric(sums, pieces, side, blocks - 1 - block, scale, channels, gram);
  });
}

void gram_backward(Engine& engine, const float* d, const float* source, float* target, int64_t channels,
                   int64_t pixels, float scale, bool accumulate) {
  const int64_t side = padded(channels);
  float* const packed = engine.weights.take(side * side);
  engine.pool.run(side / kBlock, [&](int64_t block, int) {
    for (int64_t j = 0; j < side; ++j)
      pack_symmetric(d, channels, block * kBlock, j, scale,
                     packed + panel_offset(j / kPanel, side) +
                         panel_index(block * kBlock, j % kPanel, panel_width(j / kPanel, channels), side),
                     std::min(kStrip, panel_width(j / kPanel, channels)));
  });
  pointwise(engine, {1, channels, channels, pixels, 0, 0}, false,
            {source, {nullptr, 0}, packed, nullptr, target, accumulate ? NST_ACCUMULATE : 0});
}

}  // namespace nst
