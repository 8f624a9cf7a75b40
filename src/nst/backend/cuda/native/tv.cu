// Total variation of planar pictures (layers/tv_loss.py): sums and gradients, one thread per value of the gradient.
//
// Forward differences: sum (dx^2 + dy^2 + eps)^(beta/2) without last row and column. Nine points: 2/3 d^2 of straight
// and 1/6 d^2 of diagonal neighbours; the caller divides by the number of values.
#include "vectors.cuh"
#include "reduce.cuh"

struct Picture {
  const Real* values;  // of one plane
  int h, w;
  Real beta, epsilon;

  NST_MEMBER Real at(int row, int column) const { return values[(Index)row * w + column]; }
  NST_MEMBER bool holds(int row, int column) const { return row >= 0 && row < h && column >= 0 && column < w; }
  NST_MEMBER Real right(int row, int column) const { return at(row, column) - at(row, column + 1); }
  NST_MEMBER Real down(int row, int column) const { return at(row, column) - at(row + 1, column); }

  // Whether a value is one of those that the forward differences start from.
  NST_MEMBER bool starts(int row, int column) const {
    return row >= 0 && column >= 0 && row < h - 1 && column < w - 1;
  }
  NST_MEMBER Real square(int row, int column) const {
    const Real dx = right(row, column), dy = down(row, column);
    return dx * dx + dy * dy + epsilon;
  }
  // 2q: how much a difference counts in the gradient; a flat spot has none.
  NST_MEMBER Real slope(int row, int column) const {
    if (beta == 2) return 2;
    const Real s = square(row, column);
    return s == 0 ? 0 : beta * (Real)pow(s, beta / 2 - 1);
  }
  // Squares of the differences to the four neighbours after a value, weighted.
  NST_MEMBER Real neighbours(int row, int column) const {
    Real sum = 0;
    const Real value = at(row, column);
    each_neighbour([&](int down, int right, Real weight) {
      if (!holds(row + down, column + right)) return;
      const Real d = value - at(row + down, column + right);
      sum += weight * d * d;
    });
    return sum;
  }
  template <class Body>
  NST_MEMBER static void each_neighbour(Body body) {
    body(0, 1, (Real)(2.0 / 3));
    body(1, 0, (Real)(2.0 / 3));
    body(1, 1, (Real)(1.0 / 6));
    body(1, -1, (Real)(1.0 / 6));
  }
};

NST_KERNEL(tv_loss)(const Real* __restrict__ x, double* __restrict__ partials, Index planes, Index h, Index w,
                    double beta, double epsilon, Index nine_point) {
  sum_block(partials, [=] {
    double sum = 0;
    NST_STRIDE(i, planes * h * w) {
      Index plane = i;
      const int column = take(plane, (int)w), row = take(plane, (int)h);
      const Picture picture = {x + plane * h * w, (int)h, (int)w, (Real)beta, (Real)epsilon};
      if (nine_point) {
        sum += picture.neighbours(row, column);
      } else if (picture.starts(row, column)) {
        const Real square = picture.square(row, column);
        sum += beta == 2 ? square : (Real)pow(square, (Real)beta / 2);
      }
    }
    return sum;
  });
}

// dx = *factor * gradient, or += with `adds`. Threads: planes * h * w.
NST_KERNEL(tv_gradient)(const Real* __restrict__ x, const float* __restrict__ factor, Real* __restrict__ dx,
                        Index planes, Index h, Index w, double beta, double epsilon, Index nine_point, Index adds) {
  const Index i = thread_number();
  if (i >= planes * h * w) return;
  Index plane = i;
  const int column = take(plane, (int)w), row = take(plane, (int)h);
  const Picture picture = {x + plane * h * w, (int)h, (int)w, (Real)beta, (Real)epsilon};
  Real sum = 0;
  if (nine_point) {
    const Real value = picture.at(row, column);
    Picture::each_neighbour([&](int down, int right, Real weight) {
      for (int side = -1; side <= 1; side += 2)
        if (picture.holds(row + side * down, column + side * right))
          sum += 2 * weight * (value - picture.at(row + side * down, column + side * right));
    });
  } else {
    if (picture.starts(row, column))
      sum += picture.slope(row, column) * (picture.right(row, column) + picture.down(row, column));
    if (picture.starts(row, column - 1)) sum -= picture.slope(row, column - 1) * picture.right(row, column - 1);
    if (picture.starts(row - 1, column)) sum -= picture.slope(row - 1, column) * picture.down(row - 1, column);
  }
  sum *= (Real)*factor;
  dx[i] = adds ? dx[i] + sum : sum;
}
