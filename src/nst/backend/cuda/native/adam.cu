// One step of Adam (solvers/adam.py), operation by operation in its order, with bounds.
#include "vectors.cuh"

// settings, in device memory so that a captured graph may be replayed with others:
// [0] rate * sqrt(1 - beta2^t) / (1 - beta1^t)  [1] beta1  [2] beta2  [3] delta  [4] factor of the gradient
// lower, upper: null, or one limit per value.
NST_KERNEL(adam)(float* __restrict__ w, const float* __restrict__ g, float* __restrict__ mean,
                 float* __restrict__ square, const float* __restrict__ lower, const float* __restrict__ upper,
                 const float* __restrict__ settings, Index count) {
  const Index i = thread_number();
  if (i >= count) return;
  const float rate = settings[0], beta1 = settings[1], beta2 = settings[2], delta = settings[3];
  const float gradient = settings[4] * g[i];
  const float m = beta1 * mean[i] + (1.f - beta1) * gradient;
  const float v = beta2 * square[i] + (1.f - beta2) * gradient * gradient;
  mean[i] = m;
  square[i] = v;
  float value = w[i] - m / (sqrtf(v) + delta) * rate;
  if (lower) value = value < lower[i] ? lower[i] : value;
  if (upper) value = value > upper[i] ? upper[i] : value;
  w[i] = value;
}

// settings[0] = rate * sqrt(1 - beta2^t) / (1 - beta1^t) for t = ++*step: ONE thread, for graphs that hold whole
// iterations. Powers in float32's precision, as Caffe.
NST_KERNEL(adam_advance)(int* step, float* settings, const float* __restrict__ rate) {
  if (thread_number() != 0) return;
  const int t = ++*step;
  const float power1 = (float)pow((double)settings[1], (double)t);
  const float power2 = (float)pow((double)settings[2], (double)t);
  settings[0] = *rate * (sqrtf(1.f - power2) / (1.f - power1));
}

// average = share * average + (1 - share) * w: the averaged iterates.
NST_KERNEL(average)(const float* __restrict__ w, float* __restrict__ mean, const float* __restrict__ share,
                    Index count) {
  const Index i = thread_number();
  if (i < count) mean[i] = *share * mean[i] + (1.f - *share) * w[i];
}
