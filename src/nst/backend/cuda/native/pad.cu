// Borders of maps (layers/pad.py): the edge's own values, the mirrored inside, zeros, or the far side. One thread per
// group of the output (backward: of the input, which adds up all places that were copied from it).
#include "vectors.cuh"

#define NST_REPLICATE 0  // as PadParameter numbers them
#define NST_REFLECT 1
#define NST_ZERO 2
#define NST_CIRCULAR 3

// The place that an output place is copied from, or -1 for zero.
NST_INLINE int origin(int place, int size, int pad, int mode) {
  const int inside = place - pad;
  if (inside >= 0 && inside < size) return inside;
  if (mode == NST_ZERO) return -1;
  if (mode == NST_REPLICATE) return inside < 0 ? 0 : size - 1;
  if (mode == NST_CIRCULAR) return inside < 0 ? inside + size : inside - size;
  return inside < 0 ? -inside : 2 * size - 2 - inside;
}

NST_KERNEL(pad)(const Element* __restrict__ x, Element* __restrict__ y, Index n, Index h, Index w, Index cp, Index ph,
                Index pw, Index mode) {
  const int groups = (int)(cp / 8), out_h = (int)(h + 2 * ph), out_w = (int)(w + 2 * pw);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * out_h * out_w * groups) return;
  const int group = take(image, groups), column = take(image, out_w), row = take(image, out_h);
  const int from_row = origin(row, (int)h, (int)ph, (int)mode);
  const int from_column = origin(column, (int)w, (int)pw, (int)mode);
  const bool is_zero = from_row < 0 || from_column < 0;
  store(y, i, is_zero ? zeros() : load(x, ((image * h + from_row) * w + from_column) * groups + group));
}

// body(out place) for every output place that is copied from `place`, in ascending order.
template <class Body>
NST_INLINE void each_copy(int place, int size, int pad, int mode, Body body) {
  const bool is_alone = mode == NST_ZERO || (place > pad && place < size - 1 - pad);
  if (is_alone) {
    body(place + pad);
    return;
  }
  for (int out = 0; out < pad; ++out)
    if (origin(out, size, pad, mode) == place) body(out);
  body(place + pad);
  for (int out = size + pad; out < size + 2 * pad; ++out)
    if (origin(out, size, pad, mode) == place) body(out);
}

NST_KERNEL(pad_backward)(const Element* __restrict__ dy, Element* __restrict__ dx, Index n, Index h, Index w, Index cp,
                         Index ph, Index pw, Index mode) {
  const int groups = (int)(cp / 8), out_h = (int)(h + 2 * ph), out_w = (int)(w + 2 * pw);
  const Index i = thread_number();
  Index image = i;
  if (i >= n * h * w * groups) return;
  const int group = take(image, groups), column = take(image, (int)w), row = take(image, (int)h);
  Eight sum = zeros();
  each_copy(row, (int)h, (int)ph, (int)mode, [&](int out_row) {
    each_copy(column, (int)w, (int)pw, (int)mode, [&](int out_column) {
      const Eight gradient = load(dy, ((image * out_h + out_row) * out_w + out_column) * groups + group);
      NST_EACH_CHANNEL sum.at[k] += gradient.at[k];
    });
  });
  store(dx, i, sum);
}
