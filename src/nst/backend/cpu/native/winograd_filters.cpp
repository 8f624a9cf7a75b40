#include "winograd_filters.h"

#include <cstring>
#include <memory>
#include <stdexcept>

#include "bf16.h"
#include "engine.h"
#include "winograd_transforms.h"

namespace nst {

namespace {

template <int M, int kPair>
void expand_pair(const float* taps, int64_t tap_stride, int64_t count, float* expanded, int64_t stride) {
  constexpr int A = M + 2;
  for (int64_t i = 0; i < count; i += kLanes) {
    Vec rows[2][3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      const float* const tap = taps + j * tap_stride + i;
      const Vec g[3] = {load(tap), load(tap + 3 * tap_stride), load(tap + 6 * tap_stride)};
      Winograd<M>::template filter_pair<kPair>(g, rows[0][j], rows[1][j]);
    }
#pragma GCC unroll 2
    for (int a = 0; a < 2; ++a) {
      Vec row[A];
      filter_all<M>(rows[a], row);
#pragma GCC unroll 8
      for (int b = 0; b < A; ++b) store(expanded + (a * A + b) * stride + i, row[b]);
    }
  }
}

}  // namespace

template <int M>
void expand_filters(const float* taps, int64_t tap_stride, int64_t count, int pair, float* expanded,
                    int64_t stride) {
  if (pair == 0) return expand_pair<M, 0>(taps, tap_stride, count, expanded, stride);
  if (pair == 1) return expand_pair<M, 1>(taps, tap_stride, count, expanded, stride);
  if constexpr (M > 2)
    if (pair == 2) return expand_pair<M, 2>(taps, tap_stride, count, expanded, stride);
  if constexpr (M > 4) expand_pair<M, 3>(taps, tap_stride, count, expanded, stride);
}

template void expand_filters<2>(const float*, int64_t, int64_t, int, float*, int64_t);
template void expand_filters<4>(const float*, int64_t, int64_t, int, float*, int64_t);
template void expand_filters<6>(const float*, int64_t, int64_t, int, float*, int64_t);

namespace {

struct Channels {
  int64_t in, out;
};
Channels channels_of(const nst_conv& conv, bool backward) {
  if (backward) return {conv.out_channels, conv.in_channels};
  return {conv.in_channels, conv.out_channels};
}

// One panel of Caffe's weights (K, C, 3, 3) as taps; `backward` swaps K and C and turns the filter around.
void pack_taps(const nst_conv& conv, bool backward, int64_t panel, const float* weights, float* taps) {
  const auto [in, out] = channels_of(conv, backward);
  const int width = panel_width(panel, out);
  const int64_t stride = frequency_stride(padded(in), width);
  std::memset(taps, 0, sizeof(float) * panel_floats(padded(in), width, kTaps));
  for (int64_t column = 0; column < std::min<int64_t>(width, out - panel * kPanel); ++column)
    for (int64_t c = 0; c < in; ++c) {
      const int64_t k = panel * kPanel + column;
      const float* filter = weights + (backward ? c * out + k : k * in + c) * kTaps;
      float* target = taps + panel_index(c, static_cast<int>(column), width, padded(in));
      for (int tap = 0; tap < kTaps; ++tap) target[tap * stride] = filter[backward ? 8 - tap : tap];
    }
}

// One panel's expanded filters with neighbouring input channels put into one word.
void pair_channels(const float* expanded, int64_t rows, int width, int frequencies, float* packed) {
#if NST_LANES == 16
  for (int f = 0; f < frequencies; ++f) {
    const float* const source = expanded + f * frequency_stride(2 * rows, width);
    float* const target = packed + f * frequency_stride(rows, width);
    for (int64_t row = 0; row < rows; ++row)
      for (int k = 0; k < width; ++k)
        target[row * width + k] = bf16_pair(source[2 * row * width + k], source[(2 * row + 1) * width + k]);
  }
#else
  (void)expanded, (void)rows, (void)width, (void)frequencies, (void)packed;
  throw std::runtime_error("these kernels have no bf16");
#endif
}

template <int M>
void pack(Engine& engine, const nst_conv& conv, bool backward, int form, const float* weights, float* packed) {
  constexpr int frequencies = (M + 2) * (M + 2);
  const auto [in, out] = channels_of(conv, backward);
  const int64_t depth = padded(in), rows = filter_rows(in, form);
  const int64_t taps_size = form == NST_TAPS ? 0 : panel_floats(depth, kPanel, kTaps);
  const int64_t scratch = taps_size + (form == NST_BF16 ? panel_floats(depth, kPanel, frequencies) : 0);
  float* const arena = engine.arena.take(scratch * engine.pool.threads());
  engine.pool.run(panel_count(out), [&, out = out](int64_t panel, int worker) {
    if (form == NST_TAPS) {
      pack_taps(conv, backward, panel, weights, packed + filter_offset(panel, depth, kTaps));
      return;
    }
    float* const taps = arena + worker * scratch;
    pack_taps(conv, backward, panel, weights, taps);
    const int width = panel_width(panel, out);
    const int64_t stride = frequency_stride(depth, width);
    float* const target = packed + filter_offset(panel, rows, frequencies);
    float* const expanded = form == NST_BF16 ? taps + taps_size : target;
    for (int pair = 0; pair <= M / 2; ++pair)
      expand_filters<M>(taps, stride, stride, pair, expanded + pair * 2 * (M + 2) * stride, stride);
    if (form == NST_BF16) pair_channels(expanded, rows, width, frequencies, target);
  });
}

}  // namespace

int64_t winograd_filter_floats(const nst_conv& conv, int tile, bool backward, int form) {
  const auto [in, out] = channels_of(conv, backward);
  return filter_floats(filter_rows(in, form), out, form == NST_TAPS ? kTaps : (tile + 2) * (tile + 2));
}

void winograd_pack(Engine& engine, const nst_conv& conv, int tile, bool backward, int form, const float* weights,
                   float* packed) {
  const auto run = tile == 2 ? pack<2> : tile == 4 ? pack<4> : pack<6>;
  run(engine, conv, backward, form, weights, packed);
}

}  // namespace nst
