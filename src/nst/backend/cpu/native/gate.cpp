// The gate of a map whose values are there already.
#include "gate.h"

#include "kernels.h"

namespace nst {

void positive_gate(Engine& engine, const float* source, int64_t images, int64_t channels, int64_t pixels,
                   int64_t source_stride, const nst_gate& gate) {
  const int64_t blocks = padded(channels) / kBlock;
  engine.pool.run(images * blocks, [&](int64_t task, int) {
    const int64_t n = task / blocks, first = task % blocks * pixels;
    const float* const values = source + n * source_stride + first * kBlock;
    uint16_t* const bits = gate_at(gate, n, first);
    for (int64_t p = 0; p < pixels; ++p)
      for (int v = 0; v < kBlock; v += kLanes)
        set_gate_lanes(bits + p, v, positive_lanes(load(values + p * kBlock + v)));
  });
}

}  // namespace nst
