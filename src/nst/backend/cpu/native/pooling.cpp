// Maximum and mean pooling of blocked arrays with Caffe's windows: clipped to the picture, the divisor of the
// mean counting padding but not the overhang of the ceil rule.
//
// The backward passes divide the input rows among tasks: each task adds up what reaches its own rows, output
// rows in ascending order.
#include <algorithm>
#include <cfloat>
#include <cstring>

#include "gate.h"
#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

typedef int32_t Ints __attribute__((vector_size(kLanes * 4), aligned(kLanes * 4), may_alias));

// One axis of a window: picture positions [begin, end), and its length with padding.
struct Span {
  int64_t begin, end, length;
};

Span span(int64_t out, int64_t stride, int64_t pad, int64_t kernel, int64_t size) {
  const int64_t begin = out * stride - pad, end = std::min(begin + kernel, size + pad);
  return {std::max<int64_t>(begin, 0), std::min(end, size), end - begin};
}
Span rows_of(const nst_pool& p, int64_t y) { return span(y, p.stride_h, p.pad_h, p.kernel_h, p.in_h); }
Span columns_of(const nst_pool& p, int64_t x) { return span(x, p.stride_w, p.pad_w, p.kernel_w, p.in_w); }

int64_t blocks_of(const nst_pool& p) { return padded(p.channels) / kBlock; }

// Calls body(source offset, target offset, winner offset, y, x) for every output pixel of every image and block.
// Winners have no gaps between images.
template <class Body>
void for_each_output(Engine& engine, const nst_pool& p, Body body) {
  const int64_t blocks = blocks_of(p);
  engine.pool.run(p.images * blocks * p.out_h, [&](int64_t task, int) {
    const int64_t y = task % p.out_h, block = task / p.out_h % blocks, n = task / p.out_h / blocks;
    const int64_t in = n * p.in_stride + block * p.in_h * p.in_w * kBlock;
    const int64_t out = n * p.out_stride + (block * p.out_h + y) * p.out_w * kBlock;
    for (int64_t x = 0; x < p.out_w; ++x) body(in, out + x * kBlock, (task * p.out_w + x) * kBlock, y, x);
  });
}

// Zeroes the target and calls body(target offset of the plane, output offset, winner offset, rows, columns) for
// every output pixel whose window meets a strip of input rows; `rows` is the part inside the strip.
template <class Body>
void for_each_strip(Engine& engine, const nst_pool& p, float* target, Body body) {
  const int64_t blocks = blocks_of(p), height = std::max<int64_t>(2 * p.kernel_h, 8);
  const int64_t strips = ceil_div(p.in_h, height);
  engine.pool.run(p.images * blocks * strips, [&](int64_t task, int) {
    const int64_t strip = task % strips, block = task / strips % blocks, n = task / strips / blocks;
    const int64_t begin = strip * height, end = std::min(p.in_h, begin + height);
    const int64_t in = n * p.in_stride + block * p.in_h * p.in_w * kBlock;
    std::memset(target + in + begin * p.in_w * kBlock, 0, sizeof(float) * (end - begin) * p.in_w * kBlock);
    const int64_t low = begin + p.pad_h - p.kernel_h + 1;
    const int64_t first = low <= 0 ? 0 : ceil_div(low, p.stride_h);
    const int64_t last = std::min(p.out_h, (end - 1 + p.pad_h) / p.stride_h + 1);
    for (int64_t y = first; y < last; ++y) {
      const Span rows = rows_of(p, y);
      const Span mine{std::max(rows.begin, begin), std::min(rows.end, end), rows.length};
      const int64_t out = n * p.out_stride + (block * p.out_h + y) * p.out_w * kBlock;
      const int64_t won = ((n * blocks + block) * p.out_h + y) * p.out_w * kBlock;
      for (int64_t x = 0; x < p.out_w; ++x)
        body(in, out + x * kBlock, won + x * kBlock, mine, columns_of(p, x));
    }
  });
}

// Calls body(source offset, target offset, gate of the window's first pixel, its rows, its columns) for every
// window of 2x2, stride 2.
template <class Body>
void for_each_window(Engine& engine, const nst_pool& p, Body body, const nst_gate& gate) {
  const int64_t blocks = blocks_of(p);
  engine.pool.run(p.images * blocks * p.out_h, [&](int64_t task, int) {
    const int64_t y = task % p.out_h, block = task / p.out_h % blocks, n = task / p.out_h / blocks;
    const int64_t line = (block * p.in_h + 2 * y) * p.in_w;
    const int64_t in = n * p.in_stride + line * kBlock;
    const int64_t out = n * p.out_stride + (block * p.out_h + y) * p.out_w * kBlock;
    for (int64_t x = 0; x < p.out_w; ++x)
      body(in + 2 * x * kBlock, out + x * kBlock, gate_at(gate, n, line + 2 * x),
           std::min<int64_t>(2, p.in_h - 2 * y), std::min<int64_t>(2, p.in_w - 2 * x));
  });
}

}  // namespace

void max_pool(Engine& engine, const nst_pool& p, const float* source, float* target, int32_t* winner) {
  for_each_output(engine, p, [&](int64_t in, int64_t out, int64_t won, int64_t y, int64_t x) {
    const Span rows = rows_of(p, y), columns = columns_of(p, x);
    for (int v = 0; v < kBlock; v += kLanes) {
      Vec best = broadcast(-FLT_MAX);
      Ints index = Ints{} - 1;
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          const int32_t at = static_cast<int32_t>(i * p.in_w + j);
          const Vec value = load(source + in + int64_t{at} * kBlock + v);
          const auto wins = value > best;
          best = wins ? value : best;
          index = wins ? Ints{} + at : index;
        }
      store(target + out + v, best);
      if (winner) *reinterpret_cast<Ints*>(winner + won + v) = index;
    }
  });
}

void max_pool_backward(Engine& engine, const nst_pool& p, const float* gradient, const int32_t* winner,
                       float* target) {
  for_each_strip(engine, p, target, [&](int64_t in, int64_t out, int64_t won, const Span& rows,
                                      const Span& columns) {
    for (int v = 0; v < kBlock; v += kLanes) {
      const Ints index = *reinterpret_cast<const Ints*>(winner + won + v);
      const Vec grad = load(gradient + out + v);
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          const int32_t at = static_cast<int32_t>(i * p.in_w + j);
          float* const place = target + in + int64_t{at} * kBlock + v;
          store(place, load(place) + (index == at ? grad : zero()));
        }
    }
  });
}

// The windows of 2x2, stride 2, share no pixel; those of an odd edge are cut off.
void max_pool_gated(Engine& engine, const nst_pool& p, const float* source, float* target, const nst_gate& gate,
                    bool rectified) {
  for_each_window(engine, p, [&](int64_t in, int64_t out, uint16_t* bits, int64_t rows, int64_t columns) {
    const float* const window = source + in;
    for (int v = 0; v < kBlock; v += kLanes) {
      Vec best = broadcast(rectified ? 0.f : -FLT_MAX);
      uint32_t winner[2][2] = {};
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          const Vec value = load(window + (i * p.in_w + j) * kBlock + v);
          const uint32_t wins = positive_lanes(value - best);
          for (auto& row : winner) row[0] &= ~wins, row[1] &= ~wins;
          winner[i][j] = wins;
          best = maximum(value, best);
        }
      store(target + out + v, best);
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) set_gate_lanes(bits + i * p.in_w + j, v, winner[i][j]);
    }
  }, gate);
}

void max_pool_gated_backward(Engine& engine, const nst_pool& p, const float* gradient, const nst_gate& gate,
                             float* target) {
  for_each_window(engine, p, [&](int64_t in, int64_t out, uint16_t* bits, int64_t rows, int64_t columns) {
    for (int v = 0; v < kBlock; v += kLanes)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
          store(target + in + (i * p.in_w + j) * kBlock + v,
                where_lanes(gate_lanes(bits + i * p.in_w + j, v), load(gradient + out + v)));
  }, gate);
}

void avg_pool(Engine& engine, const nst_pool& p, const float* source, float* target) {
  for_each_output(engine, p, [&](int64_t in, int64_t out, int64_t, int64_t y, int64_t x) {
    const Span rows = rows_of(p, y), columns = columns_of(p, x);
    const float size = static_cast<float>(rows.length * columns.length);
    for (int v = 0; v < kBlock; v += kLanes) {
      Vec sum = zero();
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; ++j)
          sum += load(source + in + (i * p.in_w + j) * kBlock + v);
      store(target + out + v, sum / size);
    }
  });
}

void avg_pool_backward(Engine& engine, const nst_pool& p, const float* gradient, float* target) {
  for_each_strip(engine, p, target, [&](int64_t in, int64_t out, int64_t, const Span& rows,
                                      const Span& columns) {
    const float size = static_cast<float>(rows.length * columns.length);
    for (int v = 0; v < kBlock; v += kLanes) {
      const Vec share = load(gradient + out + v) / size;
      for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; ++j) {
          float* const place = target + in + (i * p.in_w + j) * kBlock + v;
          store(place, load(place) + share);
        }
    }
  });
}

}  // namespace nst
