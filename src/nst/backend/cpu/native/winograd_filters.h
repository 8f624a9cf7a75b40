// Filters of the Winograd convolution: packed taps, and their transformed ("expanded") form.
//
// All forms are [panel][frequency][strip][input channel][strip width], with 9 taps or (M + 2)^2 frequencies, those
// in the order of the pairs of rows (winograd_transforms.h).
// Taps take as much memory as the weights; the expanded form takes 4 (M = 4) or 7 (M = 6) times as much, and is
// kept only where a convolution has few channels. Elsewhere pieces of a panel are expanded when they are needed.
// Filters in bf16 are always expanded; their input channels come in pairs, so that they are half as large.
#pragma once

#include "microkernel.h"
#include "nst_cpu.h"

namespace nst {

constexpr int kTaps = 9;

// Rows of a panel's weights: one per input channel, or one per two of them.
constexpr int64_t filter_rows(int64_t in_channels, int form) {
  return padded(in_channels) / (form == NST_BF16 ? 2 : 1);
}
// Words between two frequencies of one panel; three extra cache lines keep them in different cache sets.
constexpr int64_t frequency_stride(int64_t rows, int width) { return rows * width + 48; }
constexpr int64_t panel_floats(int64_t rows, int width, int frequencies) {
  return frequencies * frequency_stride(rows, width);
}
// Where panel `panel` begins; all panels before it are kPanel wide.
constexpr int64_t filter_offset(int64_t panel, int64_t rows, int frequencies) {
  return panel * panel_floats(rows, kPanel, frequencies);
}
constexpr int64_t filter_floats(int64_t rows, int64_t out_channels, int frequencies) {
  const int64_t last = panel_count(out_channels) - 1;
  return filter_offset(last, rows, frequencies) +
         panel_floats(rows, panel_width(last, out_channels), frequencies);
}

// G g G^T for `count` filters of a panel: 9 planes `tap_stride` apart in; out, `stride` apart, the 2 (M + 2)
// frequencies of the two rows of pair `pair` (winograd_transforms.h).
template <int M>
void expand_filters(const float* taps, int64_t tap_stride, int64_t count, int pair, float* expanded,
                    int64_t stride);

}  // namespace nst
