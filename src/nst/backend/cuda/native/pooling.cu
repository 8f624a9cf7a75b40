// Maximum and mean pooling of maps with Caffe's windows: clipped to the picture, ties to the first, NaN never wins, the
// divisor of the mean counting padding but not the overhang of the ceil rule. One thread per group of the output
// (backward: of the input, so that each thread adds up what reaches its own place, in the reference's order).
#include "vectors.cuh"

#define NST_NONE 255u  // code of a window in which nothing is a number

// 2x2 windows at stride 2; the last may hang over. winner: 2 bits per channel, down * 2 + right; positive: bit k says
// that channel k's maximum is positive; it may be null.
NST_KERNEL(max_pool_2x2)(const Element* __restrict__ x, Element* __restrict__ y, unsigned short* __restrict__ winner,
                         unsigned char* __restrict__ positive, Index n, Index h, Index w, Index cp, Index oh,
                         Index ow) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * oh * ow * groups) return;
  const int group = take(image, groups), column = 2 * take(image, (int)ow), row = 2 * take(image, (int)oh);
  Eight best;
  NST_EACH_CHANNEL best.at[k] = NST_LOWEST;
  unsigned code = 0;
  _Pragma("unroll") for (int tap = 0; tap < 4; ++tap) {
    const int in_row = row + (tap >> 1), in_column = column + (tap & 1);
    if (in_row >= h || in_column >= w) continue;
    const Eight values = load(x, ((image * h + in_row) * w + in_column) * groups + group);
    NST_EACH_CHANNEL if (values.at[k] > best.at[k]) {
      best.at[k] = values.at[k];
      code = (code & ~(3u << (2 * k))) | ((unsigned)tap << (2 * k));
    }
  }
  winner[i] = (unsigned short)code;
  if (positive) positive[i] = (unsigned char)positive_bits(best);
  store(y, i, best);
}

// Gradient of max_pool_2x2; with `positive` also that of the ReLU in front of it. One thread per group of dy writes all
// places of its window; the last one of a row or column clears what no window covers (rounding down).
NST_KERNEL(max_pool_2x2_backward)(const Element* __restrict__ dy, const unsigned short* __restrict__ winner,
                                  const unsigned char* __restrict__ positive, Element* __restrict__ dx, Index n,
                                  Index h, Index w, Index cp, Index oh, Index ow) {
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * oh * ow * groups) return;
  const int group = take(image, groups), out_column = take(image, (int)ow), out_row = take(image, (int)oh);
  const int row_end = (int)(out_row == oh - 1 ? h : 2 * out_row + 2);
  const int column_end = (int)(out_column == ow - 1 ? w : 2 * out_column + 2);
  const unsigned code = winner[i], passes = positive ? positive[i] : 255u;
  const Eight gradient = masked(load(dy, i), passes);
  for (int row = 2 * out_row; row < row_end; ++row)
    for (int column = 2 * out_column; column < column_end; ++column) {
      const int down = row - 2 * out_row, right = column - 2 * out_column;
      const unsigned tap = down < 2 && right < 2 ? 2u * down + right : NST_NONE;
      Eight values;
      NST_EACH_CHANNEL values.at[k] = ((code >> (2 * k)) & 3u) == tap ? gradient.at[k] : 0.f;
      store(dx, ((image * h + row) * w + column) * groups + group, values);
    }
}

struct Window {
  int h, w, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;

  NST_MEMBER int top(int out_row) const { return out_row * stride_h - pad_h; }
  NST_MEMBER int left(int out_column) const { return out_column * stride_w - pad_w; }
  // Places that the mean counts: the overhang beyond the padding left out.
  NST_MEMBER float size(int top, int left) const {
    return (float)((min(top + kernel_h, h + pad_h) - top) * (min(left + kernel_w, w + pad_w) - left));
  }
  // body(row, column, tap) for every place of a window that lies in the picture.
  template <class Body>
  NST_MEMBER void each_place(int top, int left, Body body) const {
    for (int down = max(0, -top); down < min(kernel_h, h - top); ++down)
      for (int right = max(0, -left); right < min(kernel_w, w - left); ++right)
        body(top + down, left + right, down * kernel_w + right);
  }
  // body(out row, out column, tap) for every window that covers a place, by rising tap.
  template <class Body>
  NST_MEMBER void each_window(int row, int column, Body body) const {
    for (int down = 0; down < kernel_h; ++down) {
      const int y = row + pad_h - down;
      if (y < 0 || y % stride_h || y / stride_h >= out_h) continue;
      for (int right = 0; right < kernel_w; ++right) {
        const int x = column + pad_w - right;
        if (x < 0 || x % stride_w || x / stride_w >= out_w) continue;
        body(y / stride_h, x / stride_w, down * kernel_w + right);
      }
    }
  }
};

#define NST_WINDOW_ARGUMENTS \
  Index n, Index h, Index w, Index cp, Index oh, Index ow, Index kh, Index kw, Index sh, Index sw, Index ph, Index pw
#define NST_WINDOW \
  {(int)h, (int)w, (int)oh, (int)ow, (int)kh, (int)kw, (int)sh, (int)sw, (int)ph, (int)pw}

// code: the winner's place in its window, down * kw + right, one byte per channel. Windows of at most 255 places.
NST_KERNEL(max_pool)(const Element* __restrict__ x, Element* __restrict__ y, unsigned char* __restrict__ code,
                     NST_WINDOW_ARGUMENTS) {
  const Window window = NST_WINDOW;
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * oh * ow * groups) return;
  const int group = take(image, groups), column = take(image, window.out_w), row = take(image, window.out_h);
  Eight best;
  unsigned won[2] = {~0u, ~0u};  // four codes each
  NST_EACH_CHANNEL best.at[k] = NST_LOWEST;
  window.each_place(window.top(row), window.left(column), [&](int in_row, int in_column, int tap) {
    const Eight values = load(x, ((image * h + in_row) * w + in_column) * groups + group);
    NST_EACH_CHANNEL if (values.at[k] > best.at[k]) {
      best.at[k] = values.at[k];
      won[k >> 2] = (won[k >> 2] & ~(255u << (8 * (k & 3)))) | ((unsigned)tap << (8 * (k & 3)));
    }
  });
  reinterpret_cast<unsigned*>(code)[2 * i] = won[0];
  reinterpret_cast<unsigned*>(code)[2 * i + 1] = won[1];
  store(y, i, best);
}

NST_KERNEL(max_pool_backward)(const Element* __restrict__ dy, const unsigned char* __restrict__ code,
                              Element* __restrict__ dx, NST_WINDOW_ARGUMENTS) {
  const Window window = NST_WINDOW;
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * h * w * groups) return;
  const int group = take(image, groups), column = take(image, window.w), row = take(image, window.h);
  Eight sum = zeros();
  window.each_window(row, column, [&](int out_row, int out_column, int tap) {
    const Index place = ((image * oh + out_row) * ow + out_column) * groups + group;
    const unsigned* const won = reinterpret_cast<const unsigned*>(code) + 2 * place;
    const unsigned codes[2] = {won[0], won[1]};
    const Eight gradient = load(dy, place);
    NST_EACH_CHANNEL if (((codes[k >> 2] >> (8 * (k & 3))) & 255u) == (unsigned)tap) sum.at[k] += gradient.at[k];
  });
  store(dx, i, sum);
}

NST_KERNEL(avg_pool)(const Element* __restrict__ x, Element* __restrict__ y, NST_WINDOW_ARGUMENTS) {
  const Window window = NST_WINDOW;
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * oh * ow * groups) return;
  const int group = take(image, groups), column = take(image, window.out_w), row = take(image, window.out_h);
  const int top = window.top(row), left = window.left(column);
  Eight sum = zeros();
  window.each_place(top, left, [&](int in_row, int in_column, int) {
    const Eight values = load(x, ((image * h + in_row) * w + in_column) * groups + group);
    NST_EACH_CHANNEL sum.at[k] += values.at[k];
  });
  const float size = window.size(top, left);
  NST_EACH_CHANNEL sum.at[k] /= size;  // 0/0 where a window lies outside the picture, as in Caffe
  store(y, i, sum);
}

NST_KERNEL(avg_pool_backward)(const Element* __restrict__ dy, Element* __restrict__ dx, NST_WINDOW_ARGUMENTS) {
  const Window window = NST_WINDOW;
  const int groups = (int)(cp / 8);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * h * w * groups) return;
  const int group = take(image, groups), column = take(image, window.w), row = take(image, window.h);
  Eight sum = zeros();
  window.each_window(row, column, [&](int out_row, int out_column, int) {
    const float size = window.size(window.top(out_row), window.left(out_column));
    const Eight gradient = load(dy, ((image * oh + out_row) * ow + out_column) * groups + group);
    NST_EACH_CHANNEL sum.at[k] += gradient.at[k] / size;
  });
  store(dx, i, sum);
}
