// 1x1 convolution, stride 1, no padding: a matrix product of pixels and channels, without detours.
//
// A block of pixels is copied once (the ReLU mask applied) into the order in which register tiles read it; the
// products are written, or added, where they belong. Also the backward pass of a Gram matrix, whose weights are
// the gradient of the matrix.
#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "microkernel.h"

namespace nst {
namespace {

class Pointwise {
 public:
  Pointwise(Engine& engine, const PointwiseShape& shape, const BlockedConvolution& args)
      : engine_(engine), s_(shape), args_(args), depth_(padded(s_.in) / kBlock), panels_(panel_count(s_.out)) {}

  void run() {
    const int64_t block = block_pixels(), blocks = ceil_div(s_.pixels, block);
    const int64_t parts = std::min(panels_, ceil_div(2 * engine_.pool.threads(), s_.images * blocks));
    const int64_t scratch = block * depth_ * kBlock;
    float* const arena = engine_.arena.take(scratch * engine_.pool.threads());
    engine_.pool.run(s_.images * blocks * parts, [&](int64_t task, int worker) {
      const int64_t part = task % parts, first = task / parts % blocks * block;
      float* const rows = arena + worker * scratch;
      const Span span{task / parts / blocks, first, std::min(block, s_.pixels - first)};
      read(span, rows);
      for (int64_t panel = panels_ * part / parts; panel < panels_ * (part + 1) / parts; ++panel)
        multiply(span, rows, panel);
    });
  }

 private:
  // Pixels [first, first + count) of an image.
  struct Span {
    int64_t image, first, count;
  };

  // Whole register groups that fill about an eighth of an L2 cache, as equal for all threads as they can be.
  int64_t block_pixels() const {
    const int64_t groups = std::clamp<int64_t>((int64_t{128} << 10) / (depth_ * kBlock * 4) / kRows, 2, 16);
    const int64_t blocks = round_up(ceil_div(s_.pixels, groups * kRows), engine_.pool.threads());
    return std::min(s_.pixels, round_up(ceil_div(s_.pixels, blocks), kRows));
  }

  void read(const Span& span, float* rows) const {
    const Groups groups(span.count);
    for (int64_t block = 0; block < depth_; ++block) {
      const int64_t origin = span.image * s_.in_stride + (block * s_.pixels + span.first) * kBlock;
      for (int64_t group = 0, row = 0; group < groups.count; row += groups.size(group++)) {
        const int64_t floats = groups.size(group) * kBlock;
        copy(origin + row * kBlock, floats, rows + row * depth_ * kBlock + block * floats);
      }
    }
  }

  void copy(int64_t origin, int64_t floats, float* target) const {
    const float* const source = args_.source + origin;
    if (!args_.mask) {
      std::memcpy(target, source, sizeof(float) * floats);
      return;
    }
    for (int64_t i = 0; i < floats; i += kLanes)
      store(target + i, where_positive(load(args_.mask + origin + i), load(source + i)));
  }

  void multiply(const Span& span, const float* rows, int64_t panel) const {
    const int width = panel_width(panel, s_.out);
    const int64_t plane = s_.pixels * kBlock, first = panel * (kPanel / kBlock);
    float* const target = args_.target + span.image * s_.out_stride + first * plane + span.first * kBlock;
    rows_times_panel(GroupedRows{rows, depth_}, 0, depth_, args_.packed + panel_offset(panel, depth_ * kBlock), width,
                     target, plane, span.count, args_.flags & NST_ACCUMULATE);
    if (!args_.bias && !(args_.flags & NST_RELU)) return;
    for (int64_t q = 0; q < width / kBlock; ++q)
      for (int v = 0; v < kBlock; v += kLanes) {
        const Vec bias = args_.bias ? load(args_.bias + (first + q) * kBlock + v) : zero();
        float* const line = target + q * plane + v;
        for (int64_t t = 0; t < span.count; ++t) {
          const Vec value = load(line + t * kBlock) + bias;
          store(line + t * kBlock, args_.flags & NST_RELU ? maximum(value, zero()) : value);
        }
      }
  }

  Engine& engine_;
  const PointwiseShape s_;
  const BlockedConvolution args_;
  const int64_t depth_, panels_;
};

}  // namespace

void pointwise(Engine& engine, const PointwiseShape& shape, const BlockedConvolution& args) {
  Pointwise(engine, shape, args).run();
}

}  // namespace nst
