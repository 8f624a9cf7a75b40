// Convolution of any geometry between blocked arrays: gather the taps of a block of pixels, then one product.
//
// For a block of T pixels, tap by tap, rows of 16 channels are copied to V[tap][channel block][T][16] (im2col in
// the blocked layout: whole cache lines, through the gate); V times the packed weights gives the
// outputs. 1x1 convolutions with stride 1 have pointwise.cpp instead.
//
// The backward pass gathers too, so that nothing is scattered and no two threads write to one place. The input
// pixels are divided into phases by their position modulo the stride; within a phase every pixel is reached by
// the same taps, and the gradient is an ordinary dense convolution with those taps.
#include <algorithm>
#include <cstring>
#include <vector>

#include "gate.h"
#include "kernels.h"
#include "microkernel.h"

namespace nst {
namespace {

// A kernel tap: where it reads relative to (row * step) of the pixel grid, and its place in the weights.
struct Tap {
  int64_t dy, dx, index;
};

// One dense sub-problem: a grid of target pixels, all with the same taps.
struct Phase {
  int64_t first_y, first_x, stride_y, stride_x, rows, columns;  // the grid in the target
  int64_t step_y, step_x;                                       // source pixels per grid pixel
  std::vector<Tap> taps;
};

// The convolution with its direction resolved.
struct Shape {
  int64_t in, out, source_h, source_w, target_h, target_w, source_stride, target_stride;
};

Shape shape_of(const nst_conv& c, bool backward) {
  if (backward)
    return {c.out_channels, c.in_channels, c.out_h, c.out_w, c.in_h, c.in_w, c.out_stride, c.in_stride};
  return {c.in_channels, c.out_channels, c.in_h, c.in_w, c.out_h, c.out_w, c.in_stride, c.out_stride};
}

Phase forward_phase(const nst_conv& c) {
  Phase phase{0, 0, 1, 1, c.out_h, c.out_w, c.stride_h, c.stride_w, {}};
  for (int64_t i = 0; i < c.kernel_h; ++i)
    for (int64_t j = 0; j < c.kernel_w; ++j)
      phase.taps.push_back(
          {i * c.dilation_h - c.pad_h, j * c.dilation_w - c.pad_w, i * c.kernel_w + j});
  return phase;
}

// Input pixel y = first + stride * Y is read by output (y + pad - i * dilation) / stride where that is whole.
Phase backward_phase(const nst_conv& c, int64_t first_y, int64_t first_x) {
  Phase phase{first_y, first_x, c.stride_h, c.stride_w, ceil_div(c.in_h - first_y, c.stride_h),
              ceil_div(c.in_w - first_x, c.stride_w), 1, 1, {}};
  for (int64_t i = 0; i < c.kernel_h; ++i)
    for (int64_t j = 0; j < c.kernel_w; ++j) {
      const int64_t y = first_y + c.pad_h - i * c.dilation_h, x = first_x + c.pad_w - j * c.dilation_w;
      if (y % c.stride_h == 0 && x % c.stride_w == 0)
        phase.taps.push_back({y / c.stride_h, x / c.stride_w, i * c.kernel_w + j});
    }
  return phase;
}

std::vector<Phase> phases_of(const nst_conv& c, bool backward) {
  if (!backward) return {forward_phase(c)};
  std::vector<Phase> phases;
  for (int64_t y = 0; y < std::min(c.stride_h, c.in_h); ++y)
    for (int64_t x = 0; x < std::min(c.stride_w, c.in_w); ++x) phases.push_back(backward_phase(c, y, x));
  return phases;
}

int64_t depth_of(const Phase& phase, const Shape& shape) { return phase.taps.size() * padded(shape.in); }

// One panel of weights of one phase: rows (tap, input channel), columns output channels.
void pack_panel(const nst_conv& c, const Phase& phase, const Shape& shape, bool backward, int64_t panel,
                const float* weights, float* packed) {
  const int64_t depth = depth_of(phase, shape), area = c.kernel_h * c.kernel_w;
  const int width = panel_width(panel, shape.out);
  std::memset(packed, 0, sizeof(float) * depth * width);
  const int64_t columns = std::min<int64_t>(width, shape.out - panel * kPanel);
  for (size_t tap = 0; tap < phase.taps.size(); ++tap)
    for (int64_t i = 0; i < shape.in; ++i)
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t o = panel * kPanel + column;
        const int64_t filter = backward ? i * shape.out + o : o * shape.in + i;
        packed[panel_index(tap * padded(shape.in) + i, static_cast<int>(column), width, depth)] =
            weights[filter * area + phase.taps[tap].index];
      }
}

bool is_pointwise(const nst_conv& c) {
  return c.kernel_h == 1 && c.kernel_w == 1 && c.stride_h == 1 && c.stride_w == 1 && c.pad_h == 0 && c.pad_w == 0;
}

class GatheredConvolution {
 public:
  GatheredConvolution(Engine& engine, const nst_conv& conv, const Shape& shape, const Phase& phase,
                      const float* packed, bool backward, const BlockedConvolution& args)
      : engine_(engine), s_(shape), phase_(phase), packed_(packed), args_(args),
        reads_gate_(backward && args.gate.bits), writes_gate_(!backward && args.gate.bits) {
    pixels_ = conv.images * phase.rows * phase.columns;
    depth_blocks_ = depth_of(phase, shape) / kBlock;
  }

  void run() {
    // About 256 KiB of gathered rows; with few blocks the panels are divided too, at the price of gathering
    // again for each part.
    const int64_t row_bytes = std::max<int64_t>(1, depth_blocks_) * kBlock * 4;
    const int64_t groups = std::clamp<int64_t>((int64_t{256} << 10) / row_bytes / kRows, 1, 16);
    const int64_t count = ceil_div(pixels_, groups * kRows), panels = panel_count(s_.out);
    block_ = std::min(pixels_, round_up(ceil_div(pixels_, count), kRows));
    const int64_t blocks = ceil_div(pixels_, block_);
    const int64_t parts = std::min(panels, ceil_div(4 * engine_.pool.threads(), blocks));
    const int64_t scratch = block_ * (row_bytes / 4 + kPanel) + block_stride_pad();
    float* const arena = engine_.arena.take(scratch * engine_.pool.threads());
    engine_.pool.run(blocks * parts, [&](int64_t task, int worker) {
      const int64_t first = task / parts * block_, part = task % parts;
      run_block(first, std::min(block_, pixels_ - first), panels * part / parts,
                panels * (part + 1) / parts, arena + worker * scratch);
    });
  }

 private:
  int64_t block_stride() const { return block_ * kBlock + kBlock; }  // off the powers of two
  int64_t block_stride_pad() const { return (depth_blocks_ + 1) * kBlock; }

  // A run of grid pixels of one row: `count` pixels from (row, column) of image.
  struct Run {
    int64_t image, row, column, count;
  };

  template <class Body>
  void for_each_run(int64_t first, int64_t count, Body body) const {
    for (int64_t done = 0; done < count;) {
      const int64_t pixel = first + done, line = pixel / phase_.columns, column = pixel % phase_.columns;
      const int64_t length = std::min(count - done, phase_.columns - column);
      body(Run{line / phase_.rows, line % phase_.rows, column, length}, done);
      done += length;
    }
  }

  void run_block(int64_t first, int64_t count, int64_t begin, int64_t end, float* gathered) const {
    for_each_run(first, count, [&](const Run& run, int64_t at) {
      for (size_t tap = 0; tap < phase_.taps.size(); ++tap)
        for (int64_t c = 0; c < padded(s_.in) / kBlock; ++c)
          gather(run, phase_.taps[tap], c,
                 gathered + (tap * (padded(s_.in) / kBlock) + c) * block_stride() + at * kBlock);
    });
    float* const products = gathered + depth_blocks_ * block_stride();
    for (int64_t panel = begin; panel < end; ++panel) {
      const int width = panel_width(panel, s_.out);
      rows_times_panel(gathered, block_stride(), depth_blocks_,
                       packed_ + panel_offset(panel, depth_blocks_ * kBlock), width, products,
                       block_ * kBlock, count);
      for (int q = 0; q < width / kBlock; ++q)
        for_each_run(first, count, [&](const Run& run, int64_t at) {
          finish(run, panel * (kPanel / kBlock) + q, products + (q * block_ + at) * kBlock);
        });
    }
  }

  // Copies what one tap reads of one channel block; pixels outside the source are zero.
  void gather(const Run& run, const Tap& tap, int64_t block, float* target) const {
    const int64_t y = run.row * phase_.step_y + tap.dy, step = phase_.step_x;
    int64_t begin = 0, end = 0;
    if (y >= 0 && y < s_.source_h) {
      const int64_t x0 = run.column * step + tap.dx;
      begin = std::clamp<int64_t>(ceil_div(std::max<int64_t>(-x0, 0), step), 0, run.count);
      end = std::clamp<int64_t>(ceil_div(std::max<int64_t>(s_.source_w - x0, 0), step), begin, run.count);
    }
    std::memset(target, 0, sizeof(float) * begin * kBlock);
    std::memset(target + end * kBlock, 0, sizeof(float) * (run.count - end) * kBlock);
    if (begin == end) return;
    const int64_t x = (run.column + begin) * step + tap.dx;
    const int64_t pixel = (block * s_.source_h + y) * s_.source_w + x;
    copy_pixels(args_.source + run.image * s_.source_stride + pixel * kBlock,
                reads_gate_ ? gate_at(args_.gate, run.image, pixel) : nullptr, step * kBlock, end - begin,
                target + begin * kBlock);
  }

  // Bias, ReLU or accumulation, and the store to the target's grid.
  void finish(const Run& run, int64_t block, const float* products) const {
    const int64_t y = phase_.first_y + run.row * phase_.stride_y;
    const int64_t x = phase_.first_x + run.column * phase_.stride_x;
    const int64_t pixel = (block * s_.target_h + y) * s_.target_w + x;
    float* const target = args_.target + run.image * s_.target_stride + pixel * kBlock;
    uint16_t* const bits = writes_gate_ ? gate_at(args_.gate, run.image, pixel) : nullptr;
    for (int64_t t = 0; t < run.count; ++t)
      for (int v = 0; v < kBlock; v += kLanes) {
        float* const place = target + t * phase_.stride_x * kBlock + v;
        Vec value = load(products + t * kBlock + v);
        if (args_.bias) value += load(args_.bias + block * kBlock + v);
        if (bits) set_gate_lanes(bits + t * phase_.stride_x, v, positive_lanes(value));
        if (args_.flags & NST_RELU) value = maximum(value, zero());
        if (args_.flags & NST_ACCUMULATE) value += load(place);
        store(place, value);
      }
  }

  Engine& engine_;
  const Shape s_;
  const Phase& phase_;
  const float* const packed_;
  const BlockedConvolution args_;
  const bool reads_gate_, writes_gate_;
  int64_t pixels_, depth_blocks_, block_ = 0;
};

}  // namespace

int64_t convolution_filter_floats(const nst_conv& c) {
  return c.kernel_h * c.kernel_w * padded(c.in_channels) * padded(c.out_channels);  // a tap is in one phase
}

void convolution_pack(Engine& engine, const nst_conv& c, bool backward, const float* weights,
                      float* packed) {
  const Shape shape = shape_of(c, backward);
  for (const Phase& phase : phases_of(c, backward)) {
    const int64_t depth = depth_of(phase, shape);
    engine.pool.run(panel_count(shape.out), [&](int64_t panel, int) {
      pack_panel(c, phase, shape, backward, panel, weights, packed + panel_offset(panel, depth));
    });
    packed += depth * padded(shape.out);
  }
}

void convolution(Engine& engine, const nst_conv& c, bool backward, const BlockedConvolution& args) {
  const Shape shape = shape_of(c, backward);
  const bool adds_last = args.flags & NST_ACCUMULATE && (args.bias || args.flags & NST_RELU);
  if (is_pointwise(c) && !adds_last) {
    pointwise(engine, {c.images, shape.in, shape.out, c.in_h * c.in_w, shape.source_stride, shape.target_stride},
              backward, args);
    return;
  }
  const float* packed = args.packed;
  for (const Phase& phase : phases_of(c, backward)) {
    GatheredConvolution(engine, c, shape, phase, packed, backward, args).run();
    packed += depth_of(phase, shape) * padded(shape.out);
  }
}

}  // namespace nst
