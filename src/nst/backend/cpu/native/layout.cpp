// Conversion between Caffe's planar layout (N, C, H, W) and nChw16c.
#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

// Pixels per task: a few cache lines of 16 planes at a time.
constexpr int64_t kPixels = 2048;

struct Piece {
  int64_t image, block, begin, end;
};

// Cuts (image, block, pixels) into tasks and calls body(piece) for each.
template <class Body>
void for_each_piece(Engine& engine, int64_t images, int64_t channels, int64_t pixels, Body body) {
  const int64_t blocks = ceil_div(channels, kBlock), chunks = ceil_div(pixels, kPixels);
  engine.pool.run(images * blocks * chunks, [&](int64_t task, int) {
    const int64_t chunk = task % chunks, plane = task / chunks;
    body(Piece{plane / blocks, plane % blocks, chunk * kPixels, std::min(pixels, (chunk + 1) * kPixels)});
  });
}

}  // namespace

void to_blocked(Engine& engine, const float* planar, float* blocked, int64_t images, int64_t channels,
                int64_t pixels, int64_t planar_stride, int64_t blocked_stride) {
  for_each_piece(engine, images, channels, pixels, [&](const Piece& piece) {
    const float* const from = planar + piece.image * planar_stride + piece.block * kBlock * pixels;
    float* const to = blocked + piece.image * blocked_stride + piece.block * pixels * kBlock;
    const int64_t count = std::min<int64_t>(kBlock, channels - piece.block * kBlock);
    for (int64_t p = piece.begin; p < piece.end; ++p) {
      alignas(64) float row[kBlock] = {};
      for (int64_t c = 0; c < count; ++c) row[c] = from[c * pixels + p];
      std::memcpy(to + p * kBlock, row, sizeof row);
    }
  });
}

void to_planar(Engine& engine, const float* blocked, float* planar, int64_t images, int64_t channels,
               int64_t pixels, int64_t blocked_stride, int64_t planar_stride) {
  constexpr int64_t kTile = 16;  // pixels whose 16 channels fit the registers and one line of each plane
  for_each_piece(engine, images, channels, pixels, [&](const Piece& piece) {
    const float* const from = blocked + piece.image * blocked_stride + piece.block * pixels * kBlock;
    float* const to = planar + piece.image * planar_stride + piece.block * kBlock * pixels;
    const int64_t count = std::min<int64_t>(kBlock, channels - piece.block * kBlock);
    for (int64_t p = piece.begin; p < piece.end; p += kTile) {
      const int64_t end = std::min(piece.end, p + kTile);
      for (int64_t c = 0; c < count; ++c)
        for (int64_t q = p; q < end; ++q) to[c * pixels + q] = from[q * kBlock + c];
    }
  });
}

}  // namespace nst
