// 1x1 convolution, stride 1, no padding: a matrix product of pixels and channels, without detours.
//
// A block of pixels is copied once (through the gate) into the order in which register tiles read it; the
// products are written, or added, where they belong. Also the backward pass of a Gram matrix, whose weights are
// the gradient of the matrix.
#include <algorithm>

#include "gate.h"
#include "kernels.h"
#include "microkernel.h"

namespace nst {
namespace {

class Pointwise {
 public:
  // `backward` says that the gate is read, not written.
  Pointwise(Engine& engine, const PointwiseShape& shape, bool backward, const BlockedConvolution& args)
      : engine_(engine), s_(shape), args_(args), reads_gate_(backward && args.gate.bits),
        writes_gate_(!backward && args.gate.bits), depth_(padded(s_.in) / kBlock), panels_(panel_count(s_.out)) {}

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
      const int64_t pixel = block * s_.pixels + span.first;
      const float* const source = args_.source + span.image * s_.in_stride + pixel * kBlock;
      const uint16_t* const gate = reads_gate_ ? gate_at(args_.gate, span.image, pixel) : nullptr;
      for (int64_t group = 0, row = 0; group < groups.count; row += groups.size(group++))
        copy_pixels(source + row * kBlock, gate ? gate + row : gate, kBlock, groups.size(group),
                    rows + (row * depth_ + block * groups.size(group)) * kBlock);
    }
  }

  void multiply(const Span& span, const float* rows, int64_t panel) const {
    const int width = panel_width(panel, s_.out);
    const int64_t plane = s_.pixels * kBlock, first = panel * (kPanel / kBlock);
    float* const target = args_.target + span.image * s_.out_stride + first * plane + span.first * kBlock;
    const GroupedRows<Fp32> operands{rows, depth_};
    rows_times_panel(operands, 0, depth_, args_.packed + panel_offset(panel, depth_ * kBlock), width,
                     target, plane, span.count, args_.flags & NST_ACCUMULATE);
    if (!args_.bias && !(args_.flags & NST_RELU) && !writes_gate_) return;
    for (int64_t q = 0; q < width / kBlock; ++q)
      for (int v = 0; v < kBlock; v += kLanes) {
        const Vec bias = args_.bias ? load(args_.bias + (first + q) * kBlock + v) : zero();
        float* const line = target + q * plane + v;
        uint16_t* const bits = writes_gate_ ? gate_at(args_.gate, span.image, (first + q) * s_.pixels + span.first) : nullptr;
        for (int64_t t = 0; t < span.count; ++t) {
          const Vec value = load(line + t * kBlock) + bias;
          if (bits) set_gate_lanes(bits + t, v, positive_lanes(value));
          store(line + t * kBlock, args_.flags & NST_RELU ? maximum(value, zero()) : value);
        }
      }
  }

  Engine& engine_;
  const PointwiseShape s_;
  const BlockedConvolution args_;
  const bool reads_gate_, writes_gate_;
  const int64_t depth_, panels_;
};

}  // namespace

void pointwise(Engine& engine, const PointwiseShape& shape, bool backward, const BlockedConvolution& args) {
  Pointwise(engine, shape, backward, args).run();
}

}  // namespace nst
