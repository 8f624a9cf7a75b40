// Convolution of a picture: at most 4 planar channels in, blocked out; and the gradient back to the picture.
//
// A blocked layout would waste at least 12 of 16 lanes on such an input. Forward: direct, each output vector accumulates
// weight vectors times broadcast pixels of a zero-padded copy of the picture. Backward: the gradients of all
// (channel, tap) pairs are the columns of one product with the transposed filters, and are added to the rows
// of the picture they belong to (col2im). Each task owns a strip of picture rows.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "gate.h"
#include "kernels.h"
#include "microkernel.h"
#include "picture.h"

namespace nst {
namespace {

// kPicturePixels outputs of kPictureVecs vectors: bias + sum over pairs of pixel * weights.
NST_INLINE void forward_tile(const float* corner, const std::vector<int64_t>& offsets, int64_t step,
                             const float* weights, int64_t weight_step, const float* bias,
                             Vec (&acc)[kPicturePixels][kPictureVecs]) {
  for (int r = 0; r < kPicturePixels; ++r)
    for (int v = 0; v < kPictureVecs; ++v) acc[r][v] = bias ? load(bias + v * kLanes) : zero();
  for (size_t q = 0; q < offsets.size(); ++q, weights += weight_step) {
    const float* const pixel = corner + offsets[q];
    Vec weight[kPictureVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kPictureVecs; ++v) weight[v] = load(weights + v * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < kPicturePixels; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kPictureVecs; ++v) acc[r][v] += pixel[r * step] * weight[v];
  }
}

void forward_row(const nst_conv& c, const float* line, const std::vector<int64_t>& offsets,
                 const float* packed, const float* bias, float* target, uint16_t* gate, int flags) {
  const int64_t channels = padded(c.out_channels), plane = c.out_h * c.out_w * kBlock;
  for (int64_t k = 0; k < channels; k += kPictureVecs * kLanes)
    for (int64_t x = 0; x < c.out_w; x += kPicturePixels) {
      Vec acc[kPicturePixels][kPictureVecs];
      forward_tile(line + x * c.stride_w, offsets, c.stride_w, packed + k, channels, bias ? bias + k : nullptr,
                   acc);
      const int64_t count = std::min<int64_t>(kPicturePixels, c.out_w - x);
      for (int64_t r = 0; r < count; ++r)
        for (int v = 0; v < kPictureVecs; ++v) {
          const int64_t pixel = k / kBlock * plane / kBlock + x + r;
          if (gate) set_gate_lanes(gate + pixel, k % kBlock + v * kLanes, positive_lanes(acc[r][v]));
          const Vec value = flags & NST_RELU ? maximum(acc[r][v], zero()) : acc[r][v];
          store(target + pixel * kBlock + k % kBlock + v * kLanes, value);
        }
    }
}

// Which output rows read at least one of the input rows [begin, end).
std::pair<int64_t, int64_t> reading_rows(const nst_conv& c, int64_t begin, int64_t end) {
  const int64_t reach = (c.kernel_h - 1) * c.dilation_h;
  const int64_t low = begin + c.pad_h - reach, high = end - 1 + c.pad_h;
  const int64_t first = low <= 0 ? 0 : ceil_div(low, c.stride_h);
  return {first, std::min(c.out_h, high / c.stride_h + 1)};
}

// Adds the columns of `count` outputs from (row y, column x) to the picture rows [begin, end).
void add_columns(const nst_conv& c, const float* columns, int64_t block_stride, int64_t y, int64_t x,
                 int64_t count, int64_t begin, int64_t end, float* picture) {
  int64_t q = 0;
  for (int64_t channel = 0; channel < c.in_channels; ++channel)
    for (int64_t i = 0; i < c.kernel_h; ++i)
      for (int64_t j = 0; j < c.kernel_w; ++j, ++q) {
        const int64_t row = y * c.stride_h - c.pad_h + i * c.dilation_h;
        if (row < begin || row >= end) continue;
        const int64_t x0 = x * c.stride_w - c.pad_w + j * c.dilation_w;
        const int64_t first = std::min(count, ceil_div(std::max<int64_t>(-x0, 0), c.stride_w));
        const int64_t last = std::min(count, ceil_div(std::max<int64_t>(c.in_w - x0, 0), c.stride_w));
        float* const line = picture + (channel * c.in_h + row) * c.in_w;
        const float* const column = columns + q / kBlock * block_stride + q % kBlock;
        for (int64_t t = first; t < last; ++t) line[x0 + t * c.stride_w] += column[t * kBlock];
      }
}

// A run of gradients of one output row, through the gate, as rows for the product: [channel block][count][16].
void load_gradients(const nst_conv& c, const float* gradient, const uint16_t* gate, int64_t y, int64_t x,
                    int64_t count, float* target, int64_t block_stride) {
  for (int64_t block = 0; block < padded(c.out_channels) / kBlock; ++block) {
    const int64_t pixel = (block * c.out_h + y) * c.out_w + x;
    copy_pixels(gradient + pixel * kBlock, gate ? gate + pixel : gate, kBlock, count, target + block * block_stride);
  }
}

}  // namespace

int64_t first_layer_filter_floats(const nst_conv& c, bool backward) {
  return padded(c.out_channels) * (backward ? padded(pairs(c)) : pairs(c));
}

void first_layer_pack(const nst_conv& c, bool backward, const float* weights, float* packed) {
  std::memset(packed, 0, sizeof(float) * first_layer_filter_floats(c, backward));
  const int64_t count = pairs(c), depth = padded(c.out_channels);
  for (int64_t k = 0; k < c.out_channels; ++k)
    for (int64_t q = 0; q < count; ++q) {
      const int width = panel_width(q / kPanel, count);
      const int64_t place =
          backward ? panel_offset(q / kPanel, depth) + panel_index(k, q % kPanel, width, depth)
                   : q * depth + k;
      packed[place] = weights[k * count + q];
    }
}

void first_layer_forward(Engine& engine, const nst_conv& c, const float* planar, const nst_gate& gate,
                         const float* packed, const float* bias, float* blocked, int flags) {
  const PaddedPicture picture(c);
  const int64_t most = picture.images_at_a_time(c), rows = c.in_channels * picture.height;
  float* const copy = engine.arena.take(most * picture.floats());
  const std::vector<int64_t> offsets = picture.offsets(c);
  for (int64_t first = 0; first < c.images; first += most) {
    const int64_t count = std::min(most, c.images - first);
    engine.pool.run(count * rows, [&](int64_t task, int) {
      const int64_t n = task / rows;
      picture.copy_row(c, planar + (first + n) * c.in_channels * c.in_h * c.in_w, task % rows,
                       copy + n * picture.floats());
    });
    engine.pool.run(count * c.out_h, [&](int64_t task, int) {
      const int64_t n = task / c.out_h, y = task % c.out_h;
      forward_row(c, copy + n * picture.floats() + y * c.stride_h * picture.width, offsets, packed, bias,
                  blocked + (first + n) * c.out_stride + y * c.out_w * kBlock,
                  gate_at(gate, first + n, y * c.out_w), flags);
    });
  }
}

void first_layer_backward(Engine& engine, const nst_conv& c, const float* gradient, const nst_gate& gate,
                          const float* packed, float* planar) {
  constexpr int64_t kRun = 12 * kRows;  // outputs per product
  const int64_t depth = padded(c.out_channels) / kBlock, columns = padded(pairs(c)) / kBlock;
  const int64_t strip = std::clamp<int64_t>(c.in_h / (4 * engine.pool.threads()), 8, 64);
  const int64_t strips = ceil_div(c.in_h, strip), block_stride = kRun * kBlock + kBlock;
  const int64_t scratch = (depth + columns) * block_stride;
  float* const arena = engine.arena.take(scratch * engine.pool.threads());
  engine.pool.run(c.images * strips, [&](int64_t task, int worker) {
    const int64_t n = task / strips, begin = task % strips * strip, end = std::min(c.in_h, begin + strip);
    float* const picture = planar + n * c.in_channels * c.in_h * c.in_w;
    float* const rows = arena + worker * scratch;
    float* const results = rows + depth * block_stride;
    for (int64_t channel = 0; channel < c.in_channels; ++channel)
      std::memset(picture + (channel * c.in_h + begin) * c.in_w, 0, sizeof(float) * (end - begin) * c.in_w);
    const auto [first, last] = reading_rows(c, begin, end);
    for (int64_t y = first; y < last; ++y)
      for (int64_t x = 0; x < c.out_w; x += kRun) {
        const int64_t count = std::min(kRun, c.out_w - x);
        load_gradients(c, gradient + n * c.out_stride, gate_at(gate, n, 0), y, x, count, rows, block_stride);
        for (int64_t panel = 0; panel < panel_count(pairs(c)); ++panel)
          rows_times_panel(rows, block_stride, depth, packed + panel_offset(panel, depth * kBlock),
                           panel_width(panel, pairs(c)), results + panel * 2 * block_stride, block_stride,
                           count);
        add_columns(c, results, block_stride, y, x, count, begin, end, picture);
      }
  });
}

}  // namespace nst
