// Steps with one number per channel: batch statistics, (x - center) * factor + offset, and their gradients.
//
// Batch normalisation, scale and the ReLU after them are one pass forward over what the statistics were taken
// of, and two passes backward: sums over the gradient first, then what each value receives. A task is a piece of
// one channel block of one image; its sums are in double and are added up in the order of the pieces.
#include <algorithm>
#include <vector>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

constexpr int64_t kPiece = 2048;                    // pixels of a task: 128 KiB of each operand
constexpr int64_t kStreamedFloats = int64_t{4} << 20;  // outputs beyond this bypass the cache
constexpr int kDoubles = 2 * kBlock;                // two sums per channel

struct Piece {
  int64_t image, block, pixel, count;
  int64_t at(const nst_channels& c, int64_t stride) const {
    return image * stride + (block * c.pixels + pixel) * kBlock;
  }
};

int64_t pieces_of(const nst_channels& c) { return ceil_div(c.pixels, kPiece); }

// Calls body(piece, number of the piece within its block), blocks innermost so that images are read as they lie.
template <class Body>
void for_each_piece(Engine& engine, const nst_channels& c, Body body) {
  const int64_t blocks = padded(c.channels) / kBlock, pieces = pieces_of(c);
  engine.pool.run(c.images * blocks * pieces, [&](int64_t task, int) {
    const int64_t piece = task % pieces, block = task / pieces % blocks, image = task / pieces / blocks;
    const int64_t pixel = piece * kPiece;
    body(Piece{image, block, pixel, std::min(kPiece, c.pixels - pixel)}, image * pieces + piece);
  });
}

// Two double sums for each of the 16 channels of a block.
struct Sums {
  DoubleVec first[kVecs] = {}, second[kVecs] = {};
  void add(int v, Vec a, Vec b) {
    const DoubleVec wide = widen(a);
    first[v] += wide;
    second[v] += wide * widen(b);
  }
  void write(double* to) const {
    for (int k = 0; k < kBlock; ++k) {
      to[k] = first[k / kLanes][k % kLanes];
      to[kBlock + k] = second[k / kLanes][k % kLanes];
    }
  }
};

// Adds the sums of all pieces, in order: totals[channel], totals[channels + channel].
void reduce(const nst_channels& c, const std::vector<double>& partial, double* totals) {
  const int64_t pieces = c.images * pieces_of(c);
  for (int64_t channel = 0; channel < c.channels; ++channel) {
    double first = 0, second = 0;
    const double* at = partial.data() + channel / kBlock * pieces * kDoubles + channel % kBlock;
    for (int64_t piece = 0; piece < pieces; ++piece, at += kDoubles) first += at[0], second += at[kBlock];
    totals[channel] = first;
    totals[c.channels + channel] = second;
  }
}

std::vector<double> partial_sums(const nst_channels& c) {
  return std::vector<double>(padded(c.channels) / kBlock * c.images * pieces_of(c) * kDoubles);
}

double* place_of(std::vector<double>& partial, const nst_channels& c, int64_t block, int64_t number) {
  return partial.data() + (block * c.images * pieces_of(c) + number) * kDoubles;
}

bool streams(const nst_channels& c, const float* in, const float* out) {
  return in != out && c.images * padded(c.channels) * c.pixels > kStreamedFloats;
}

template <bool Streams>
NST_INLINE void put(float* place, Vec value) {
  if constexpr (Streams)
    stream(place, value);
  else
    store(place, value);
}

template <bool Streams>
void affine_piece(const float* x, const nst_affine& a, int64_t block, int64_t count, float* out, bool rectify) {
  for (int v = 0; v < kVecs; ++v) {
    const int64_t k = block * kBlock + v * kLanes;
    const Vec center = load_unaligned(a.center + k), factor = load_unaligned(a.factor + k);
    const Vec offset = load_unaligned(a.offset + k);
    const Vec floor = rectify ? zero() : broadcast(-__builtin_inff());
    for (int64_t p = v * kLanes; p < count * kBlock; p += kBlock)
      put<Streams>(out + p, maximum((load(x + p) - center) * factor + offset, floor));
  }
}

template <bool Streams>
void combine_piece(const float* gradient, const float* x, const nst_spread& s, int64_t block, int64_t count,
                   float* out) {
  for (int v = 0; v < kVecs; ++v) {
    const int64_t k = block * kBlock + v * kLanes;
    const Vec center = load_unaligned(s.center + k), slope = load_unaligned(s.slope + k);
    const Vec mean = load_unaligned(s.mean + k), factor = load_unaligned(s.factor + k);
    for (int64_t p = v * kLanes; p < count * kBlock; p += kBlock)
      put<Streams>(out + p, (load(gradient + p) - mean - (load(x + p) - center) * slope) * factor);
  }
}

}  // namespace

void channel_moments(Engine& engine, const nst_channels& c, const float* x, double* mean, double* variance) {
  std::vector<double> partial = partial_sums(c), totals(2 * c.channels);
  for_each_piece(engine, c, [&](const Piece& piece, int64_t number) {
    const float* const from = x + piece.at(c, c.x_stride);
    Sums sums;
    for (int64_t p = 0; p < piece.count; ++p)
      for (int v = 0; v < kVecs; ++v) {
        const Vec value = load(from + p * kBlock + v * kLanes);
        sums.add(v, value, value);
      }
    sums.write(place_of(partial, c, piece.block, number));
  });
  reduce(c, partial, totals.data());
  const double count = static_cast<double>(c.images * c.pixels);
  for (int64_t k = 0; k < c.channels; ++k) {
    mean[k] = totals[k] / count;  // in double the difference of squares is good to 1e-16 * mean^2
    variance[k] = std::max(0.0, totals[c.channels + k] / count - mean[k] * mean[k]);
  }
}

void channel_affine(Engine& engine, const nst_channels& c, const float* x, const nst_affine& affine, float* out,
                    bool rectify) {
  const bool bypass = streams(c, x, out);
  for_each_piece(engine, c, [&](const Piece& piece, int64_t) {
    const float* const from = x + piece.at(c, c.x_stride);
    float* const to = out + piece.at(c, c.out_stride);
    (bypass ? affine_piece<true> : affine_piece<false>)(from, affine, piece.block, piece.count, to, rectify);
    if (bypass) stream_fence();
  });
}

void channel_gradient(Engine& engine, const nst_channels& c, const float* gradient, const float* gate,
                      const float* x, const float* center, const float* factor, float* out, double* sums) {
  std::vector<double> partial = sums ? partial_sums(c) : std::vector<double>();
  for_each_piece(engine, c, [&](const Piece& piece, int64_t number) {
    const float* const g = gradient + piece.at(c, c.gradient_stride);
    const float* const y = gate ? gate + piece.at(c, c.gate_stride) : nullptr;
    const float* const values = x ? x + piece.at(c, c.x_stride) : nullptr;
    float* const to = out ? out + piece.at(c, c.out_stride) : nullptr;
    Sums total;
    for (int v = 0; v < kVecs; ++v) {
      const int64_t k = piece.block * kBlock + v * kLanes;
      const Vec middle = center ? load_unaligned(center + k) : zero();
      const Vec scale = factor ? load_unaligned(factor + k) : broadcast(1.f);
      for (int64_t p = v * kLanes; p < piece.count * kBlock; p += kBlock) {
        Vec value = load(g + p);
        if (y) value = where_positive(load(y + p), value);
        if (sums) total.add(v, value, values ? load(values + p) - middle : zero());
        if (to) store(to + p, value * scale);
      }
    }
    if (sums) total.write(place_of(partial, c, piece.block, number));
  });
  if (sums) reduce(c, partial, sums);
}

void channel_spread(Engine& engine, const nst_channels& c, const float* gradient, const float* x,
                    const nst_spread& spread, float* out) {
  const bool bypass = streams(c, gradient, out);
  for_each_piece(engine, c, [&](const Piece& piece, int64_t) {
    const float* const g = gradient + piece.at(c, c.gradient_stride);
    const float* const from = x + piece.at(c, c.x_stride);
    float* const to = out + piece.at(c, c.out_stride);
    (bypass ? combine_piece<true> : combine_piece<false>)(g, from, spread, piece.block, piece.count, to);
    if (bypass) stream_fence();
  });
}

}  // namespace nst
