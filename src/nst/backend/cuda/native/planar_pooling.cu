// Pooling of planar arrays, float32 or float64: the single operations of the backend interface. One thread per value
// of the output (backward: of the input). Semantics as in pooling.cu; argmax is h * w + column, -1 for none.
#include "vectors.cuh"

struct Axis {
  int size, out, kernel, stride, pad;

  NST_MEMBER int begin(int place) const { return place * stride - pad; }
  NST_MEMBER int first(int place) const { return max(begin(place), 0); }
  NST_MEMBER int end(int place) const { return min(begin(place) + kernel, size); }
  // As the mean counts it: with padding, without the overhang.
  NST_MEMBER int length(int place) const { return min(begin(place) + kernel, size + pad) - begin(place); }
  // The output whose window holds `place` at `offset`, or -1.
  NST_MEMBER int output(int place, int offset) const {
    const int shifted = place + pad - offset;
    if (shifted < 0 || shifted % stride) return -1;
    return shifted / stride < out ? shifted / stride : -1;
  }
};

#define NST_PLANAR_ARGUMENTS \
  Index planes, Index h, Index w, Index oh, Index ow, Index kh, Index kw, Index sh, Index sw, Index ph, Index pw
#define NST_AXES                                                      \
  const Axis rows = {(int)h, (int)oh, (int)kh, (int)sh, (int)ph};     \
  const Axis columns = {(int)w, (int)ow, (int)kw, (int)sw, (int)pw}

NST_KERNEL(planar_max_pool)(const Real* __restrict__ x, Real* __restrict__ y, int* __restrict__ argmax,
                            NST_PLANAR_ARGUMENTS) {
  NST_AXES;
  const Index i = thread_number();
  Index plane = i;
  if (i >= planes * oh * ow) return;
  const int column = take(plane, (int)ow), row = take(plane, (int)oh);
  Real best = -3.4028234663852886e38;
  int at = -1;
  for (int r = rows.first(row); r < rows.end(row); ++r)
    for (int c = columns.first(column); c < columns.end(column); ++c) {
      const Real value = x[(plane * h + r) * w + c];
      if (value > best) {
        best = value;
        at = r * (int)w + c;
      }
    }
  y[i] = best;
  argmax[i] = at;
}

// The sum of term(output index) over the windows that hold a place, by rising offset.
template <class Term>
NST_INLINE Real sum_of_windows(const Axis& rows, const Axis& columns, Index plane, int row, int column, Term term) {
  Real sum = 0;
  for (int down = 0; down < rows.kernel; ++down) {
    const int y = rows.output(row, down);
    if (y < 0) continue;
    for (int right = 0; right < columns.kernel; ++right) {
      const int x = columns.output(column, right);
      if (x >= 0) sum += term((plane * rows.out + y) * columns.out + x, y, x);
    }
  }
  return sum;
}

NST_KERNEL(planar_max_pool_backward)(const Real* __restrict__ dy, const int* __restrict__ argmax, Real* __restrict__ dx,
                                     NST_PLANAR_ARGUMENTS) {
  NST_AXES;
  const Index i = thread_number();
  Index plane = i;
  if (i >= planes * h * w) return;
  const int column = take(plane, (int)w), row = take(plane, (int)h), mine = row * (int)w + column;
  dx[i] = sum_of_windows(rows, columns, plane, row, column,
                     [=](Index output, int, int) { return argmax[output] == mine ? dy[output] : (Real)0; });
}

NST_KERNEL(planar_avg_pool)(const Real* __restrict__ x, Real* __restrict__ y, NST_PLANAR_ARGUMENTS) {
  NST_AXES;
  const Index i = thread_number();
  Index plane = i;
  if (i >= planes * oh * ow) return;
  const int column = take(plane, (int)ow), row = take(plane, (int)oh);
  Real sum = 0;
  for (int r = rows.first(row); r < rows.end(row); ++r)
    for (int c = columns.first(column); c < columns.end(column); ++c) sum += x[(plane * h + r) * w + c];
  y[i] = sum / (Real)(rows.length(row) * columns.length(column));
}

NST_KERNEL(planar_avg_pool_backward)(const Real* __restrict__ dy, Real* __restrict__ dx, NST_PLANAR_ARGUMENTS) {
  NST_AXES;
  const Index i = thread_number();
  Index plane = i;
  if (i >= planes * h * w) return;
  const int column = take(plane, (int)w), row = take(plane, (int)h);
  dx[i] = sum_of_windows(rows, columns, plane, row, column, [=](Index output, int out_row, int out_column) {
    return dy[output] / (Real)(rows.length(out_row) * columns.length(out_column));
  });
}
