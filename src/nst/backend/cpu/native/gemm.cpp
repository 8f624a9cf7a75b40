// General matrix product for planar operands of any strides (inner products, matmul of the backend interface).
//
// Both operands are repacked into the layouts of rows_times_panel, kDepth columns of a at a time. With few rows, or
// a short inner dimension, repacking would cost more than the product: see inner_product.cpp.
#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "microkernel.h"

namespace nst {
namespace {

constexpr int64_t kDepth = 512;        // columns of a per pass
constexpr int64_t kRowBlock = 8 * kRows;  // rows of a per task
constexpr int64_t kFewRows = 4;
constexpr int64_t kSmallBatch = 64;  // rows or depth for which weights are used where they lie

// Rows of a as [depth block][row][16], zero beyond the edge.
void pack_rows(const Matrix& a, int64_t rows, int64_t first, int64_t depth, int64_t row, int64_t block_stride,
               float* packed) {
  for (int64_t c = 0; c < padded(depth); ++c)
    packed[c / kBlock * block_stride + row * kBlock + c % kBlock] =
        c < depth && row < rows ? a.data[row * a.row + (first + c) * a.column] : 0.f;
}

void pack_panel(const Matrix& b, int64_t n, int64_t first, int64_t depth, int64_t panel, float* packed) {
  const int width = panel_width(panel, n);
  std::memset(packed, 0, sizeof(float) * padded(depth) * width);
  const int64_t columns = std::min<int64_t>(width, n - panel * kPanel);
  if (b.column == 1 && columns == width) {  // rows as they lie in memory
    const int strip = std::min(kStrip, width);
    for (int64_t c = 0; c < depth; ++c)
      for (int column = 0; column < width; column += strip)
        std::memcpy(packed + panel_index(c, column, width, padded(depth)),
                    b.data + (first + c) * b.row + panel * kPanel + column, sizeof(float) * strip);
    return;
  }
  for (int64_t column = 0; column < columns; ++column)
    for (int64_t c = 0; c < depth; ++c)
      packed[panel_index(c, static_cast<int>(column), width, padded(depth))] =
          b.data[(first + c) * b.row + (panel * kPanel + column) * b.column];
}

void write_block(const float* products, int64_t block_stride, int64_t rows, int64_t columns, float* c,
                 int64_t c_row, bool accumulate) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < columns; ++k) {
      const float value = products[k / kBlock * block_stride + r * kBlock + k % kBlock];
      float& place = c[r * c_row + k];
      place = accumulate ? place + value : value;
    }
}

void packed_gemm(Engine& engine, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
                 int64_t c_row, bool accumulate) {
  const int64_t depth_most = padded(std::min(k, kDepth)), row_stride = m * kBlock + kBlock;
  const int64_t panels = panel_count(n), row_blocks = ceil_div(m, kRowBlock);
  const int64_t a_floats = depth_most / kBlock * row_stride, b_floats = depth_most * padded(n);
  const int64_t scratch = kRowBlock * kPanel;
  float* const rows = engine.arena.take(a_floats + b_floats + scratch * engine.pool.threads());
  float* const weights = rows + a_floats;
  for (int64_t first = 0; first < k; first += kDepth) {
    const int64_t depth = std::min(kDepth, k - first);
    engine.pool.run(m, [&](int64_t row, int) { pack_rows(a, m, first, depth, row, row_stride, rows); });
    engine.pool.run(panels, [&](int64_t panel, int) {
      pack_panel(b, n, first, depth, panel, weights + panel_offset(panel, padded(depth)));
    });
    engine.pool.run(row_blocks * panels, [&](int64_t task, int worker) {
      const int64_t panel = task / row_blocks, row = task % row_blocks * kRowBlock;
      const int64_t count = std::min(kRowBlock, m - row);
      float* const products = weights + b_floats + worker * scratch;
      rows_times_panel(rows + row * kBlock, row_stride, padded(depth) / kBlock,
                       weights + panel_offset(panel, padded(depth)), panel_width(panel, n), products,
                       kRowBlock * kBlock, count);
      write_block(products, kRowBlock * kBlock, count, std::min<int64_t>(kPanel, n - panel * kPanel),
                  c + row * c_row + panel * kPanel, c_row, accumulate || first > 0);
    });
  }
}

// b's rows are contiguous: results are sums of multiples of them.
void few_rows_by_rows(Engine& engine, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b,
                      float* c, int64_t c_row, bool accumulate) {
  constexpr int64_t kColumns = 2048;  // a few pages of each row of b
  engine.pool.run(ceil_div(n, kColumns), [&](int64_t task, int) {
    const int64_t first = task * kColumns, count = std::min(kColumns, n - first);
    for (int64_t i = 0; i < m; ++i) {
      float* const row = c + i * c_row + first;
      if (!accumulate) std::fill(row, row + count, 0.f);
      for (int64_t p = 0; p < k; ++p) {
        const float factor = a.data[i * a.row + p * a.column];
        const float* const line = b.data + p * b.row + first;
        for (int64_t j = 0; j < count; ++j) row[j] += factor * line[j];
      }
    }
  });
}

}  // namespace

void gemm(Engine& engine, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
          int64_t c_row, bool accumulate) {
  if (k == 0 && !accumulate)
    for (int64_t i = 0; i < m; ++i) std::fill(c + i * c_row, c + i * c_row + n, 0.f);
  if (m == 0 || n == 0 || k == 0) return;
  if (m <= kSmallBatch && a.column == 1 && b.row == 1)
    row_products(engine, m, n, k, a, b, c, c_row, accumulate);
  else if (m <= kFewRows && b.column == 1)
    few_rows_by_rows(engine, m, n, k, a, b, c, c_row, accumulate);
  else if (k <= kSmallBatch && b.column == 1)
    rank_update(engine, m, n, k, a, b, c, c_row, accumulate);
  else
    packed_gemm(engine, m, n, k, a, b, c, c_row, accumulate);
}

}  // namespace nst
