// Sums of outer products over the positions of a convolution: what its weight gradient is made of.
//
// A Form turns the source and the gradient of a block of positions into V[frequency][channel block][position][16]
// and P the same; for each frequency the sum over all positions of P (out) times V (in) is taken, 32 x 32
// channels at a time, and the Form makes weight gradients of the sums. A frequency is a tap of the kernel, or
// one of the 36 products of a Winograd tile. Sums run over kChunk positions in registers and are then added to
// the total, in order, so that float32 sums of millions of positions stay accurate and the same bits.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "microkernel.h"

namespace nst {

constexpr int64_t kChunk = 96;                    // positions: both operands of 32 channels stay in L1
constexpr int64_t kUnitBlocks = 2;                // channel blocks of a unit, each way
constexpr int64_t kUnitFloats = kUnitBlocks * kUnitBlocks * kBlock * kBlock;
constexpr int64_t kOperandFloats = int64_t{3} << 20;  // V and P together

// Where one block of positions lies: channel block b of frequency f begins at (f * blocks + b) * stride.
struct Operand {
  float* data;
  int64_t blocks, stride;
  float* at(int64_t f, int64_t block) const { return data + (f * blocks + block) * stride; }
};

// total[k][c] += sum over positions of p[position][k] * v[position][c], 16 x 16.
inline void add_outer(const float* p, const float* v, int64_t count, float* total) {
  for (int k = 0; k < kBlock; k += kOuterRows) {
    Vec acc[kOuterRows][kVecs] = {};
    accumulate_outer<kOuterRows>(acc, count, [&](int64_t i, int r) { return p[i * kBlock + k + r]; }, v, kBlock);
    for (int r = 0; r < kOuterRows; ++r)
      for (int x = 0; x < kVecs; ++x) {
        float* const place = total + (k + r) * kBlock + x * kLanes;
        store(place, load(place) + acc[r][x]);
      }
  }
}

template <class Form>
class WeightProducts {
 public:
  WeightProducts(Engine& engine, const nst_conv& conv, const Form& form, float* weights)
      : engine_(engine), c_(conv), form_(form), weights_(weights) {
    in_blocks_ = padded(c_.in_channels) / kBlock, out_blocks_ = padded(c_.out_channels) / kBlock;
    in_units_ = ceil_div(in_blocks_, kUnitBlocks), out_units_ = ceil_div(out_blocks_, kUnitBlocks);
    const int64_t per_position =
        (form_.frequencies() * in_blocks_ + form_.gradient_frequencies() * out_blocks_) * kBlock;
    const int64_t most = std::max<int64_t>(1, kOperandFloats / per_position / kChunk) * kChunk;
    block_ = std::min(form_.positions(), most);
  }

  void run() {
    const int64_t stride = block_ * kBlock + kBlock;  // off the powers of two
    const int64_t source_floats = form_.frequencies() * in_blocks_ * stride;
    const int64_t gradient_floats = form_.gradient_frequencies() * out_blocks_ * stride;
    const int64_t unit = form_.frequencies() * kUnitFloats, units = in_units_ * out_units_;
    const bool once = block_ >= form_.positions() && units >= 2 * engine_.pool.threads();
    const int64_t kept = once ? engine_.pool.threads() : units;
    float* const arena = engine_.arena.take(source_floats + gradient_floats + kept * unit);
    const Operand source{arena, in_blocks_, stride}, gradient{arena + source_floats, out_blocks_, stride};
    float* const sums = arena + source_floats + gradient_floats;
    if (once) {
      fill(source, gradient, 0, block_);
      engine_.pool.run(units, [&](int64_t task, int worker) {
        float* const mine = sums + worker * unit;
        std::memset(mine, 0, sizeof(float) * unit);
        for (int64_t f = 0; f < form_.frequencies(); ++f)
          add_unit(source, gradient, task, f, block_, mine + f * kUnitFloats);
        finish(task, mine);
      });
      return;
    }
    std::memset(sums, 0, sizeof(float) * units * unit);
    for (int64_t first = 0; first < form_.positions(); first += block_) {
      const int64_t count = std::min(block_, form_.positions() - first);
      fill(source, gradient, first, count);
      engine_.pool.run(units * form_.frequencies(), [&](int64_t task, int) {
        add_unit(source, gradient, task / form_.frequencies(), task % form_.frequencies(), count,
                 sums + task * kUnitFloats);
      });
    }
    engine_.pool.run(units, [&](int64_t task, int) { finish(task, sums + task * unit); });
  }

 private:
  void fill(const Operand& source, const Operand& gradient, int64_t first, int64_t count) const {
    constexpr int64_t kPart = 24;
    const int64_t parts = ceil_div(count, kPart), blocks = in_blocks_ + out_blocks_;
    engine_.pool.run(blocks * parts, [&](int64_t task, int) {
      const int64_t block = task / parts, begin = task % parts * kPart, end = std::min(count, begin + kPart);
      if (block < in_blocks_)
        form_.fill_source(source, block, first, begin, end);
      else
        form_.fill_gradient(gradient, block - in_blocks_, first, begin, end);
    });
  }

  void add_unit(const Operand& source, const Operand& gradient, int64_t unit, int64_t f, int64_t count,
                float* sums) const {
    const int64_t out = unit / in_units_ * kUnitBlocks, in = unit % in_units_ * kUnitBlocks;
    const int64_t g = form_.gradient_frequencies() == 1 ? 0 : f;
    for (int64_t first = 0; first < count; first += kChunk)
      for (int64_t k = out; k < std::min(out + kUnitBlocks, out_blocks_); ++k)
        for (int64_t c = in; c < std::min(in + kUnitBlocks, in_blocks_); ++c)
          add_outer(gradient.at(g, k) + first * kBlock, source.at(f, c) + first * kBlock,
                    std::min(kChunk, count - first),
                    sums + ((k - out) * kUnitBlocks + c - in) * kBlock * kBlock);
  }

  // Adds to the gradients of one unit's weights; a 16 x 16 part of frequency f lies f * kUnitFloats further.
  void finish(int64_t unit, const float* sums) const {
    const int64_t out = unit / in_units_ * kUnitBlocks, in = unit % in_units_ * kUnitBlocks;
    const int64_t area = c_.kernel_h * c_.kernel_w;
    alignas(64) float taps[Form::kMostTaps][kBlock];
    for (int64_t k = out * kBlock; k < std::min(c_.out_channels, (out + kUnitBlocks) * kBlock); ++k)
      for (int64_t c = in; c < std::min(in + kUnitBlocks, in_blocks_); ++c) {
        const int64_t part = (k / kBlock - out) * kUnitBlocks + c - in;
        const float* const row = sums + (part * kBlock + k % kBlock) * kBlock;
        for (int64_t from = 0; from < area; from += Form::kMostTaps) {
          const int64_t count = std::min<int64_t>(Form::kMostTaps, area - from);
          form_.taps(row, from, count, taps);
          const int64_t channels = std::min<int64_t>(kBlock, c_.in_channels - c * kBlock);
          float* const target = weights_ + (k * c_.in_channels + c * kBlock) * area + from;
          if (count == area)
            add_turned(taps, channels, count, target);
          else
            for (int64_t i = 0; i < channels; ++i)
              for (int64_t tap = 0; tap < count; ++tap) target[i * area + tap] += taps[tap][i];
        }
      }
  }

  // target[channel][tap] += taps[tap][channel], for all taps of a kernel.
  static void add_turned(const float (*taps)[kBlock], int64_t channels, int64_t count, float* target) {
    float turned[Form::kMostTaps * kBlock];
    for (int64_t tap = 0; tap < count; ++tap)
      for (int64_t i = 0; i < kBlock; ++i) turned[i * count + tap] = taps[tap][i];
    for (int64_t i = 0; i < channels * count; ++i) target[i] += turned[i];
  }

  Engine& engine_;
  const nst_conv& c_;
  const Form& form_;
  float* const weights_;
  int64_t in_blocks_, out_blocks_, in_units_, out_units_, block_;
};

}  // namespace nst
