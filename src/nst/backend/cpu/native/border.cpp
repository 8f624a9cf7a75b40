// A border around blocked maps: every place of the result is a copy of one place of the source, or zero.
//
// Which one is said by two index arrays, one per axis, so that repeated, mirrored, periodic and zero borders are
// one kernel. The backward pass adds up, for each source row, the rows that are copies of it, in ascending order.
#include <cstring>
#include <vector>

#include "kernels.h"
#include "simd.h"

namespace nst {
namespace {

// Tasks are single rows: image, channel block and row of a picture with `rows` rows.
struct Row {
  int64_t image, block, y;
};
Row row_of(int64_t task, const nst_border& b, int64_t rows) {
  const int64_t blocks = padded(b.channels) / kBlock;
  return {task / rows / blocks, task / rows % blocks, task % rows};
}
int64_t tasks_of(const nst_border& b, int64_t rows) { return b.images * padded(b.channels) / kBlock * rows; }

}  // namespace

void border(Engine& engine, const nst_border& b, const float* source, const int64_t* rows,
            const int64_t* columns, float* target) {
  engine.pool.run(tasks_of(b, b.out_h), [&](int64_t task, int) {
    const Row at = row_of(task, b, b.out_h);
    float* const to = target + at.image * b.out_stride + (at.block * b.out_h + at.y) * b.out_w * kBlock;
    if (rows[at.y] < 0) {
      std::memset(to, 0, sizeof(float) * b.out_w * kBlock);
      return;
    }
    const float* const from = source + at.image * b.in_stride + (at.block * b.in_h + rows[at.y]) * b.in_w * kBlock;
    for (int64_t x = 0; x < b.out_w; ++x)
      if (columns[x] < 0)
        std::memset(to + x * kBlock, 0, sizeof(float) * kBlock);
      else
        std::memcpy(to + x * kBlock, from + columns[x] * kBlock, sizeof(float) * kBlock);
  });
}

void border_backward(Engine& engine, const nst_border& b, const float* gradient, const int64_t* rows,
                     const int64_t* columns, float* target) {
  std::vector<std::vector<int64_t>> copies(b.in_h);
  for (int64_t y = 0; y < b.out_h; ++y)
    if (rows[y] >= 0) copies[rows[y]].push_back(y);
  engine.pool.run(tasks_of(b, b.in_h), [&](int64_t task, int) {
    const Row at = row_of(task, b, b.in_h);
    float* const to = target + at.image * b.in_stride + (at.block * b.in_h + at.y) * b.in_w * kBlock;
    std::memset(to, 0, sizeof(float) * b.in_w * kBlock);
    for (int64_t y : copies[at.y]) {
      const float* const from = gradient + at.image * b.out_stride + (at.block * b.out_h + y) * b.out_w * kBlock;
      for (int64_t x = 0; x < b.out_w; ++x)
        for (int v = 0; columns[x] >= 0 && v < kBlock; v += kLanes) {
          float* const place = to + columns[x] * kBlock + v;
          store(place, load(place) + load(from + x * kBlock + v));
        }
    }
  });
}

}  // namespace nst
