// Matrix products of an inner product over a small batch. The weights are by far the largest operand, so they are
// read (or written) once, where they lie, and nothing is repacked.
//
//   row_products   c (+)= a * b^T, rows of both contiguous: the forward pass, b the weights
//   rank_update    c (+)= a * b, the inner dimension short: the weight gradient, c the weights
#include <algorithm>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

float sum_of(Vec v) {
  float total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += v[lane];
  return total;
}

constexpr int kSide = kLanes == 4 ? 2 : kLanes == 8 ? 3 : 4;  // of a square of dot products in registers

// R x C dot products of length n.
template <int R, int C>
void dots(const float* a, int64_t a_row, const float* b, int64_t b_row, int64_t n, float* c, int64_t c_row,
          bool accumulate) {
  Vec acc[R][C] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec right[C];
    for (int j = 0; j < C; ++j) right[j] = load_unaligned(b + j * b_row + i);
    for (int r = 0; r < R; ++r) {
      const Vec left = load_unaligned(a + r * a_row + i);
      for (int j = 0; j < C; ++j) acc[r][j] += left * right[j];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) {
      float total = sum_of(acc[r][j]);
      for (int64_t x = i; x < n; ++x) total += a[r * a_row + x] * b[j * b_row + x];
      float& place = c[r * c_row + j];
      place = accumulate ? place + total : total;
    }
}

constexpr int64_t kColumns = 1024;  // of a task: its part of b stays in the L2 cache
constexpr int64_t kTaskRows = 64;
constexpr int kTileRows = kLanes == 4 ? 4 : 6, kTileVecs = kLanes == 16 ? 4 : 2;

// R rows of c by kTileVecs vectors.
template <int R>
void tile(int64_t k, const Matrix& a, const float* rows, const Matrix& b, const float* line, float* c,
          int64_t c_row, bool accumulate) {
  Vec acc[R][kTileVecs];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < kTileVecs; ++v)
      acc[r][v] = accumulate ? load_unaligned(c + r * c_row + v * kLanes) : zero();
  for (int64_t p = 0; p < k; ++p) {
    Vec value[kTileVecs];
    for (int v = 0; v < kTileVecs; ++v) value[v] = load_unaligned(line + p * b.row + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const float factor = rows[r * a.row + p * a.column];
      for (int v = 0; v < kTileVecs; ++v) acc[r][v] += factor * value[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < kTileVecs; ++v) store_unaligned(c + r * c_row + v * kLanes, acc[r][v]);
}

// Rows [first, last) and columns [begin, end) of c.
void part(int64_t first, int64_t last, int64_t begin, int64_t end, int64_t k, const Matrix& a, const Matrix& b,
          float* c, int64_t c_row, bool accumulate) {
  constexpr int64_t kWidth = kTileVecs * kLanes;
  for (int64_t i = first; i < last;) {
    const bool full = last - i >= kTileRows;
    const float* const rows = a.data + i * a.row;
    int64_t j = begin;
    for (; j + kWidth <= end; j += kWidth) {
      float* const place = c + i * c_row + j;
      (full ? tile<kTileRows> : tile<1>)(k, a, rows, b, b.data + j, place, c_row, accumulate);
    }
    const int64_t next = i + (full ? kTileRows : 1);
    for (int64_t r = i; r < next; ++r)
      for (int64_t x = j; x < end; ++x) {
        float sum = accumulate ? c[r * c_row + x] : 0.f;
        for (int64_t p = 0; p < k; ++p) sum += a.data[r * a.row + p * a.column] * b.data[p * b.row + x];
        c[r * c_row + x] = sum;
      }
    i = next;
  }
}

}  // namespace

void row_products(Engine& engine, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
                  int64_t c_row, bool accumulate) {
  constexpr int64_t kDepth = 1024, kTaskColumns = 4 * kSide;  // 64 KiB of b, used for all rows of a
  engine.pool.run(ceil_div(n, kTaskColumns), [&](int64_t task, int) {
    const int64_t begin = task * kTaskColumns, end = std::min(n, begin + kTaskColumns);
    for (int64_t first = 0; first < k; first += kDepth) {
      const int64_t depth = std::min(kDepth, k - first);
      const bool adds = accumulate || first > 0;
      for (int64_t i = 0; i < m;) {
        const bool tall = m - i >= kSide;
        for (int64_t j = begin; j < end;) {
          const bool wide = end - j >= kSide;
          const auto kernel = tall ? (wide ? dots<kSide, kSide> : dots<kSide, 1>) : (wide ? dots<1, kSide> : dots<1, 1>);
          kernel(a.data + i * a.row + first, a.row, b.data + j * b.column + first, b.column, depth,
                 c + i * c_row + j, c_row, adds);
          j += wide ? kSide : 1;
        }
        i += tall ? kSide : 1;
      }
    }
  });
}

void rank_update(Engine& engine, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
                 int64_t c_row, bool accumulate) {
  const int64_t columns = ceil_div(n, kColumns);
  engine.pool.run(ceil_div(m, kTaskRows) * columns, [&](int64_t task, int) {
    const int64_t first = task / columns * kTaskRows, begin = task % columns * kColumns;
    part(first, std::min(m, first + kTaskRows), begin, std::min(n, begin + kColumns), k, a, b, c, c_row,
         accumulate);
  });
}

}  // namespace nst
