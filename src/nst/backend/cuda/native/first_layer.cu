// The convolution that reads the picture: 3x3, stride 1, zero padding 1, three planar float32 channels in and a map
// out, and its gradient. Both are bound by memory and have too few channels for the matrix units.
//
// One thread per four neighbouring places of a row and one group of output channels (backward: and one eighth of all
// groups), so that each filter value that is read serves four places. At most 128 output channels.
#include "vectors.cuh"

#define NST_FILTERS 128
#define NST_COLUMNS 4

#ifdef NST_HOST
#define NST_FILL(i, count) for (int i = threadIdx.x == 0 ? 0 : (count); i < (count); ++i)
#else
#define NST_FILL(i, count) for (int i = threadIdx.x; i < (count); i += blockDim.x)
#endif

struct __align__(16) Four {
  float at[4];
};

struct Place {
  int row, column;  // of the first of four
  Index image;
};

NST_INLINE Index quads_of(Index w) { return (w + NST_COLUMNS - 1) / NST_COLUMNS; }  // of a row

// Takes image, row and first column off a thread's number.
NST_INLINE Place place_of(Index rest, int h, int w) {
  const int column = NST_COLUMNS * take(rest, (int)quads_of(w));
  const int row = take(rest, h);
  return {row, column, rest};
}

NST_INLINE Eight filters_at(const float* shared, int tap, int kp, int group) {
  const Four* const fours = reinterpret_cast<const Four*>(shared + tap * kp + group * 8);
  const Four low = fours[0], high = fours[1];
  Eight result;
  NST_EACH_CHANNEL result.at[k] = k < 4 ? low.at[k & 3] : high.at[k & 3];
  return result;
}

// Filters (k, 3, 3, 3) into shared memory as [channel, down, right][kp], zeros beyond k.
NST_INLINE void fill_filters(const float* __restrict__ filters, float* shared, int k, int kp) {
  NST_FILL(i, 27 * kp) {
    const int filter = i % kp, tap = i / kp;
    shared[i] = filter < k ? filters[filter * 27 + tap] : 0.f;
  }
  __syncthreads();
}

struct First {  // sizes of the layer
  int h, w, kp;
};

// Sums of four places of one row and one group of output channels, from the bias on.
NST_INLINE void convolve(const float* __restrict__ x, const float* shared, const First& sizes, const Place& at,
                         int group, Eight* sums) {
  _Pragma("unroll 1") for (int line = 0; line < 9; ++line) {  // channel and row of the filter
    const int channel = line / 3, row = at.row + line % 3 - 1;
    if (row < 0 || row >= sizes.h) continue;
    const float* const source = x + ((at.image * 3 + channel) * sizes.h + row) * sizes.w;
    float values[NST_COLUMNS + 2];
    _Pragma("unroll") for (int j = 0; j < NST_COLUMNS + 2; ++j) {
      const int column = at.column + j - 1;
      values[j] = column >= 0 && column < sizes.w ? source[column] : 0.f;
    }
    _Pragma("unroll") for (int right = 0; right < 3; ++right) {
      const Eight filter = filters_at(shared, 3 * line + right, sizes.kp, group);
      _Pragma("unroll") for (int p = 0; p < NST_COLUMNS; ++p)
        NST_EACH_CHANNEL sums[p].at[k] += values[p + right] * filter.at[k];
    }
  }
}

// y = scale * (x * filters + bias), rectified if asked. bias: k values or null. A grid that strides over
// n * h * ceil(w / 4) * kp / 8 threads.
NST_KERNEL(first_conv)(const float* __restrict__ x, const float* __restrict__ filters, const float* __restrict__ bias,
                       Element* __restrict__ y, Index n, Index h, Index w, Index k_, Index kp, Index rectifies,
                       float scale) {
  __shared__ __align__(16) float shared[27 * NST_FILTERS];
  fill_filters(filters, shared, (int)k_, (int)kp);
  const First sizes = {(int)h, (int)w, (int)kp};
  const int groups = sizes.kp / 8;
  NST_STRIDE(i, n * h * quads_of(w) * groups) {
    Index rest = i;
    const int group = take(rest, groups);
    const Place at = place_of(rest, sizes.h, sizes.w);
    Eight sums[NST_COLUMNS];
    NST_EACH_CHANNEL {
      const float start = bias && group * 8 + k < k_ ? bias[group * 8 + k] : 0.f;
      _Pragma("unroll") for (int p = 0; p < NST_COLUMNS; ++p) sums[p].at[k] = start;
    }
    convolve(x, shared, sizes, at, group, sums);
    _Pragma("unroll") for (int p = 0; p < NST_COLUMNS; ++p) {
      if (at.column + p >= w) continue;
      NST_EACH_CHANNEL sums[p].at[k] = scale * (rectifies && sums[p].at[k] < 0.f ? 0.f : sums[p].at[k]);
      store(y, ((at.image * h + at.row) * w + at.column + p) * groups + group, sums[p]);
    }
  }
}

struct Sums {
  float at[3 * NST_COLUMNS];  // [channel][place]
};

NST_INLINE void add_to(Sums& sums, const Sums& others) {
  _Pragma("unroll") for (int j = 0; j < 3 * NST_COLUMNS; ++j) sums.at[j] += others.at[j];
}

// Adds part(lane) over eight neighbouring threads and calls done(lane, sums) in each. On the host the first plays all.
template <class Part, class Done>
NST_INLINE void sum_lanes(Part part, Done done) {
#ifdef NST_HOST
  if (threadIdx.x % 8) return;
  Sums lanes[8];
  for (int lane = 0; lane < 8; ++lane) lanes[lane] = part(lane);
  for (int step = 1; step < 8; step *= 2)
    for (int lane = 0; lane < 8; lane += 2 * step) add_to(lanes[lane], lanes[lane + step]);
  for (int lane = 0; lane < 8; ++lane) done(lane, lanes[0]);
#else
  const int lane = threadIdx.x & 7;
  Sums sums = part(lane);
  _Pragma("unroll") for (int step = 1; step < 8; step *= 2) {
    Sums others;
    _Pragma("unroll") for (int j = 0; j < 3 * NST_COLUMNS; ++j)
      others.at[j] = __shfl_xor_sync(0xffffffffu, sums.at[j], step);
    add_to(sums, others);
  }
  done(lane, sums);
#endif
}

// What one group of channels of dy, where the gate is open, sends to four places of the picture.
NST_INLINE void gather_group(const Element* __restrict__ dy, const Element* __restrict__ gate,
                             const float* shared, const First& sizes, const Place& at, int group, Sums& sums) {
  const int h = sizes.h, w = sizes.w, kp = sizes.kp, groups = kp / 8;
  _Pragma("unroll 1") for (int down = 0; down < 3; ++down) {
    const int row = at.row + 1 - down;
    if (row < 0 || row >= h) continue;
    Eight line[NST_COLUMNS + 2];
    _Pragma("unroll") for (int j = 0; j < NST_COLUMNS + 2; ++j) {
      const int column = at.column + j - 1;
      line[j] = zeros();
      if (column < 0 || column >= w) continue;
      const Index place = ((at.image * h + row) * w + column) * groups + group;
      line[j] = load(dy, place);
      if (gate) line[j] = masked(line[j], positive_bits(load(gate, place)));
    }
    _Pragma("unroll") for (int right = 0; right < 3; ++right)
      _Pragma("unroll") for (int channel = 0; channel < 3; ++channel) {
        const Eight filter = filters_at(shared, (channel * 3 + down) * 3 + right, kp, group);
        _Pragma("unroll") for (int p = 0; p < NST_COLUMNS; ++p) {
          float sum = 0.f;  // column p + 1 - right lies at line[p + 2 - right]
          NST_EACH_CHANNEL sum += line[p + 2 - right].at[k] * filter.at[k];
          sums.at[channel * NST_COLUMNS + p] += sum;
        }
      }
  }
}

// dx = scale * gradient of first_conv (before its scale), or += with `adds`; gate: y, or null where dy is gated
// already. A grid that strides over n * h * ceil(w / 4) * 8 threads; whole blocks stay together, for the lanes' sums.
NST_KERNEL(first_conv_backward)(const Element* __restrict__ dy, const Element* __restrict__ gate,
                                const float* __restrict__ filters, float* __restrict__ dx, Index n, Index h, Index w,
                                Index k_, Index kp, float scale, Index adds) {
  __shared__ __align__(16) float shared[27 * NST_FILTERS];
  fill_filters(filters, shared, (int)k_, (int)kp);
  const First sizes = {(int)h, (int)w, (int)kp};
  const Index quads = n * h * quads_of(w), step = (Index)gridDim.x * blockDim.x / 8;
  for (Index first = (Index)blockIdx.x * blockDim.x / 8; first < quads; first += step) {
    const Index quad = first + threadIdx.x / 8;
    const Place at = place_of(quad, sizes.h, sizes.w);
    sum_lanes(
        [&](int lane) {
          Sums sums;
          _Pragma("unroll") for (int j = 0; j < 3 * NST_COLUMNS; ++j) sums.at[j] = 0.f;
          if (quad < quads)
            for (int group = lane; group < sizes.kp / 8; group += 8)
              gather_group(dy, gate, shared, sizes, at, group, sums);
          return sums;
        },
        [&](int lane, const Sums& sums) {
          if (quad >= quads) return;
          _Pragma("unroll") for (int j = 0; j < 3 * NST_COLUMNS; ++j) {
            const int channel = j / NST_COLUMNS, column = at.column + j % NST_COLUMNS;
            if (channel != lane || column >= w) continue;
            float* const target = dx + ((at.image * 3 + channel) * h + at.row) * w + column;
            *target = scale * sums.at[j] + (adds ? *target : 0.f);
          }
        });
  }
}
