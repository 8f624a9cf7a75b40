// Local response normalisation across channels of blocked arrays:
//   scale = k + alpha / size * sum of x^2 over `size` neighbouring channels,   y = x * scale^-beta.
//
// One pixel at a time: its channels are gathered into a contiguous row with a margin of zeros, so that a window
// sum is `size` shifted vector loads.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

constexpr int64_t kPixels = 256;  // per task

// scale^-beta; the usual exponents need square roots only.
NST_INLINE Vec inverse_power(Vec scale, float beta) {
  Vec result;
  if (beta == 0.75f) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float root = std::sqrt(scale[lane]);
      result[lane] = 1.f / (root * std::sqrt(root));
    }
  } else if (beta == 0.5f) {
    for (int lane = 0; lane < kLanes; ++lane) result[lane] = 1.f / std::sqrt(scale[lane]);
  } else {
    for (int lane = 0; lane < kLanes; ++lane) result[lane] = std::pow(scale[lane], -beta);
  }
  return result;
}

// A row of channel values between two margins of zeros.
class Row {
 public:
  Row(float* memory, int64_t channels, int64_t size) : size_(size), values_(memory + margin(size)) {
    std::memset(memory, 0, sizeof(float) * floats(channels, size));
  }
  static int64_t margin(int64_t size) { return round_up(size, kBlock); }
  static int64_t floats(int64_t channels, int64_t size) { return padded(channels) + 2 * margin(size); }

  float* at(int64_t channel) { return values_ + channel; }
  Vec window_sum(int64_t channel) const {
    Vec sum = zero();
    for (int64_t shift = -(size_ / 2); shift <= (size_ - 1) / 2; ++shift)
      sum += load_unaligned(values_ + channel + shift);
    return sum;
  }

 private:
  int64_t size_;
  float* values_;
};

// Calls body(row, offset of the pixel's first block) for every pixel; each worker has one row.
template <class Body>
void for_each_pixel(Engine& engine, int64_t images, int64_t channels, int64_t pixels, int64_t size,
                    Body body) {
  const int64_t chunks = ceil_div(pixels, kPixels), floats = round_up(Row::floats(channels, size), kBlock);
  float* const arena = engine.arena.take(floats * engine.pool.threads());
  engine.pool.run(images * chunks, [&](int64_t task, int worker) {
    const int64_t begin = task % chunks * kPixels, image = task / chunks * padded(channels) * pixels;
    Row row(arena + worker * floats, channels, size);
    for (int64_t p = begin; p < std::min(pixels, begin + kPixels); ++p) body(row, image + p * kBlock);
  });
}

// Calls body(channel, offset) for every vector of channels of one pixel.
template <class Body>
NST_INLINE void for_each_vector(int64_t channels, int64_t pixels, int64_t pixel, Body body) {
  for (int64_t c = 0; c < padded(channels); c += kLanes)
    body(c, pixel + c / kBlock * pixels * kBlock + c % kBlock);
}

// Zeroes the channels that fill up the last block.
void clear_padding(float* values, int64_t channels, int64_t pixels, int64_t pixel) {
  for (int64_t c = channels; c < padded(channels); ++c)
    values[pixel + c / kBlock * pixels * kBlock + c % kBlock] = 0.f;
}

}  // namespace

void lrn(Engine& engine, const float* source, float* scale, float* target, int64_t images, int64_t channels,
         int64_t pixels, const LrnRule& rule) {
  const float share = rule.alpha / static_cast<float>(rule.size);
  for_each_pixel(engine, images, channels, pixels, rule.size, [&](Row& row, int64_t pixel) {
    for_each_vector(channels, pixels, pixel, [&](int64_t c, int64_t at) {
      const Vec x = load(source + at);
      store(row.at(c), x * x);
    });
    for_each_vector(channels, pixels, pixel, [&](int64_t c, int64_t at) {
      const Vec normaliser = rule.k + share * row.window_sum(c);
      store(scale + at, normaliser);
      store(target + at, load(source + at) * inverse_power(normaliser, rule.beta));
    });
    clear_padding(target, channels, pixels, pixel);
  });
}

void lrn_backward(Engine& engine, const float* source, const float* target, const float* scale,
                  const float* gradient, float* source_gradient, int64_t images, int64_t channels,
                  int64_t pixels, const LrnRule& rule) {
  const float factor = 2.f * rule.alpha * rule.beta / static_cast<float>(rule.size);
  for_each_pixel(engine, images, channels, pixels, rule.size, [&](Row& row, int64_t pixel) {
    for_each_vector(channels, pixels, pixel, [&](int64_t c, int64_t at) {
      store(row.at(c), load(gradient + at) * load(target + at) / load(scale + at));
    });
    clear_padding(row.at(0), channels, 1, 0);
    for_each_vector(channels, pixels, pixel, [&](int64_t c, int64_t at) {
      const Vec direct = load(gradient + at) * inverse_power(load(scale + at), rule.beta);
      store(source_gradient + at, direct - factor * load(source + at) * row.window_sum(c));
    });
    clear_padding(source_gradient, channels, pixels, pixel);
  });
}

}  // namespace nst
