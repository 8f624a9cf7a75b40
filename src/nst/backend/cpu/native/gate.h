// Gates: one bit per value of a blocked map (nst_gate), sixteen channels of a pixel in one uint16.
#pragma once

#include <cstring>

#include "nst_cpu.h"
#include "simd.h"

namespace nst {

// The lanes of the vector that begins at channel v of a pixel's block.
NST_INLINE uint32_t gate_lanes(const uint16_t* pixel, int v) { return static_cast<uint32_t>(*pixel) >> v; }

// Sets them; v ascending from 0.
NST_INLINE void set_gate_lanes(uint16_t* pixel, int v, uint32_t lanes) {
  *pixel = static_cast<uint16_t>(v == 0 ? lanes : *pixel | lanes << v);
}

// The bits of one image, moved `pixels` pixels on (of one block after the other); null stays null.
NST_INLINE uint16_t* gate_at(const nst_gate& gate, int64_t image, int64_t pixels) {
  return gate.bits ? gate.bits + image * gate.image_stride + pixels : nullptr;
}

// Copies `count` pixels, `step` floats apart in the source, side by side; through the gate if there is one, whose
// pixels are as far apart.
inline void copy_pixels(const float* source, const uint16_t* gate, int64_t step, int64_t count, float* target) {
  if (!gate && step == kBlock) {
    std::memcpy(target, source, sizeof(float) * count * kBlock);
    return;
  }
  for (int64_t t = 0; t < count; ++t, source += step)
    for (int v = 0; v < kBlock; v += kLanes) {
      const Vec value = load(source + v);
      store(target + t * kBlock + v, gate ? where_lanes(gate_lanes(gate + t * step / kBlock, v), value) : value);
    }
}

}  // namespace nst
