// Sums in an order that is the same in every run: a tree over the threads of a block, then one block over the
// blocks' results. No atomics on floating-point numbers; those on integers give one result in any order.

#define NST_BLOCK 256  // threads per block, for every kernel

NST_INLINE double joined(double a, double b, bool) { return a + b; }
NST_INLINE unsigned joined(unsigned a, unsigned b, bool adds) { return adds ? a + b : (a > b ? a : b); }

template <class Value>
NST_INLINE void join_tree(Value* values, unsigned thread, unsigned half, bool adds) {
  if (thread < half) values[thread] = joined(values[thread], values[thread + half], adds);
}

// Joins part() of all threads of the block (sums, or maxima unless `adds`) and calls done(result) in thread 0.
// On the host one thread plays all of them, in the same order.
template <class Value, class Part, class Done>
NST_INLINE void reduce_block(bool adds, Part part, Done done) {
#ifdef NST_HOST
  if (threadIdx.x != 0) return;
  static Value values[NST_BLOCK];
  for (threadIdx.x = 0; threadIdx.x < NST_BLOCK; ++threadIdx.x) values[threadIdx.x] = part();
  threadIdx.x = 0;
  for (unsigned half = NST_BLOCK / 2; half > 0; half /= 2)
    for (unsigned thread = 0; thread < half; ++thread) join_tree(values, thread, half, adds);
  done(values[0]);
#else
  __shared__ Value values[NST_BLOCK];
  values[threadIdx.x] = part();
  __syncthreads();
  for (unsigned half = NST_BLOCK / 2; half > 0; half /= 2) {
    join_tree(values, threadIdx.x, half, adds);
    __syncthreads();
  }
  if (threadIdx.x == 0) done(values[0]);
#endif
}

template <class Part>
NST_INLINE void sum_block(double* partials, Part part) {
  reduce_block<double>(true, part, [=](double sum) { partials[blockIdx.x] = sum; });
}
