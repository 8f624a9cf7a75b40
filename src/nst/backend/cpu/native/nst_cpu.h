/* The C interface of the CPU engine: what ctypes sees. One shared library per instruction set, all with this
 * interface.
 *
 * Layouts. "planar" is Caffe's (N, C, H, W). "blocked" is nChw16c: (N, ceil(C/16), H, W, 16), 64-byte aligned,
 * with the channels that fill up the last block equal to zero; every kernel keeps them zero. Blocked pointers
 * come with an image stride in floats, so that a kernel can read or write a range of blocks of a wider array
 * (concatenation and grouped convolution without copies). All values are float32.
 *
 * Calls return 0, or -1 with nst_error(engine) saying why. An engine serves one call at a time; others wait.
 * Arguments are trusted: the Python side checks shapes.
 */
#pragma once

#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

#define NST_ABI_VERSION 2

typedef struct nst_engine nst_engine;

/* A 2-D convolution, seen from its forward direction. */
typedef struct {
  int64_t images, in_channels, out_channels;
  int64_t in_h, in_w, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t in_stride, out_stride; /* floats from one image to the next, blocked arrays */
} nst_conv;

/* A pooling over blocked arrays; kernel may exceed the picture. */
typedef struct {
  int64_t images, channels, in_h, in_w, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int64_t in_stride, out_stride;
} nst_pool;

/* Maps and the same maps with a border around them. */
typedef struct {
  int64_t images, channels, in_h, in_w, out_h, out_w, in_stride, out_stride;
} nst_border;

/* A step with one number per channel, over blocked arrays; unused strides are 0. */
typedef struct {
  int64_t images, channels, pixels;
  int64_t x_stride, gradient_stride, gate_stride, out_stride;
} nst_channels;

/* Numbers per channel, each array filled up with zeros to a whole block.
 * nst_affine: out = (x - center) * factor + offset.
 * nst_spread: out = (gradient - mean - (x - center) * slope) * factor, the gradient of a normalisation. */
typedef struct {
  const float *center, *factor, *offset;
} nst_affine;
typedef struct {
  const float *center, *slope, *mean, *factor;
} nst_spread;

/* One bit per value of a blocked map: whether a gradient passes there. Bit c of the uint16 at (n, block, y, x) is
 * channel c of the block; there are no gaps but between images, which are image_stride uint16 apart. A rectifying
 * kernel writes where it is positive, a pooling kernel its winners; the backward pass of the convolution that made
 * the map reads them. A gate pointer may be NULL: nothing is written, everything passes. */
typedef struct {
  uint16_t* bits;
  int64_t image_stride;
} nst_gate;

/* What to do with each result of a convolution before it is written. NST_POOLED, Winograd only: what is written
 * (forward, with NST_RELU) is the maximum over windows of 2x2 with stride 2, what is read (backward) its gradient;
 * the gate, of the full size, has the winners. */
enum { NST_RELU = 1, NST_ACCUMULATE = 2, NST_POOLED = 4 };

/* ---- library and engine ---- */
int nst_abi_version(void);
const char* nst_isa(void);
int nst_lanes(void);
const char* nst_best_isa(void); /* the widest instruction set of this processor, whatever this library's is */
int nst_has_bf16(void); /* whether this library and this processor have NST_BF16 */
nst_engine* nst_engine_create(int threads); /* NULL if there is no memory */
void nst_engine_destroy(nst_engine*);
int nst_engine_threads(const nst_engine*);
const char* nst_error(const nst_engine*);
int nst_engine_trim(nst_engine*); /* gives scratch memory back */
void* nst_allocate(int64_t bytes); /* zeroed, 64-byte aligned, huge pages; NULL if there is none */
void nst_release(void*);

/* ---- gate.cpp: the gate of a map that is there, open where it is positive ---- */
int nst_positive_gate(nst_engine*, const float* source, int64_t images, int64_t channels, int64_t pixels,
                      int64_t source_stride, const nst_gate*);

/* ---- layout.cpp ---- */
int nst_to_blocked(nst_engine*, const float* planar, float* blocked, int64_t images, int64_t channels,
                   int64_t pixels, int64_t planar_stride, int64_t blocked_stride);
int nst_to_planar(nst_engine*, const float* blocked, float* planar, int64_t images, int64_t channels,
                  int64_t pixels, int64_t blocked_stride, int64_t planar_stride);

/* ---- winograd.cpp: 3x3, stride 1, no dilation ----
 * `backward` 0: in -> out with the filters as they are. 1: the gradient of in from the gradient of out.
 * Filters are packed once (`_pack`). NST_TAPS: 9 per pair of channels, transformed on the fly by each call.
 * NST_EXPANDED: kept transformed, (tile+2)^2 per pair. NST_BF16: kept transformed and rounded to bfloat16, as the
 * transformed input then is; sums stay fp32. tile is 2, 4 or 6; with NST_BF16 4. */
enum { NST_TAPS = 0, NST_EXPANDED = 1, NST_BF16 = 2 };
int64_t nst_winograd_filter_floats(const nst_conv*, int tile, int backward, int form);
int nst_winograd_pack(nst_engine*, const nst_conv*, int tile, int backward, int form, const float* weights,
                      float* packed);
int nst_winograd(nst_engine*, const nst_conv*, int tile, int backward, int form, const float* source,
                 const nst_gate*, const float* packed, const float* bias, float* target, int flags);

/* ---- convolution.cpp: every geometry, blocked to blocked ---- */
int64_t nst_conv_filter_floats(const nst_conv*);
int nst_conv_pack(nst_engine*, const nst_conv*, int backward, const float* weights, float* packed);
int nst_conv_run(nst_engine*, const nst_conv*, int backward, const float* source, const nst_gate*,
                 const float* packed, const float* bias, float* target, int flags);

/* ---- first_layer.cpp: planar picture of at most 4 channels to blocked, and the gradient back ---- */
int64_t nst_first_filter_floats(const nst_conv*, int backward);
int nst_first_pack(nst_engine*, const nst_conv*, int backward, const float* weights, float* packed);
int nst_first_forward(nst_engine*, const nst_conv*, const float* planar, const nst_gate*, const float* packed,
                      const float* bias, float* blocked, int flags);
int nst_first_backward(nst_engine*, const nst_conv*, const float* gradient, const nst_gate*,
                       const float* packed, float* planar);

/* ---- weight_gradient.cpp: adds to weights (K, C, kh, kw) and bias (K); either may be NULL ---- */
int nst_conv_weight_gradient(nst_engine*, const nst_conv*, const float* source, const float* gradient,
                             float* weight_gradient, float* bias_gradient);
int nst_first_weight_gradient(nst_engine*, const nst_conv*, const float* planar, const float* gradient,
                              float* weight_gradient, float* bias_gradient);

/* ---- pooling.cpp ---- */
/* winner: one int32 per output, without gaps between images: in_w * y + x of the winner or -1; ties go to the
 * first, NaN never wins. */
int nst_max_pool(nst_engine*, const nst_pool*, const float* source, float* target, int32_t* winner);
int nst_max_pool_backward(nst_engine*, const nst_pool*, const float* gradient, const int32_t* winner,
                          float* target);
/* 2x2, stride 2, no padding, as most nets pool. The gate is over the source: the first maximum of each window, with
 * NST_RELU only if it is positive. Backward passes the gradient there and leaves zero elsewhere. */
int nst_max_pool_gated(nst_engine*, const nst_pool*, const float* source, float* target, const nst_gate*, int flags);
int nst_max_pool_gated_backward(nst_engine*, const nst_pool*, const float* gradient, const nst_gate*,
                                float* target);
int nst_avg_pool(nst_engine*, const nst_pool*, const float* source, float* target);
int nst_avg_pool_backward(nst_engine*, const nst_pool*, const float* gradient, float* target);

/* ---- border.cpp: rows (out_h) and columns (out_w) say which source row and column each place copies; -1: zero */
int nst_border_forward(nst_engine*, const nst_border*, const float* source, const int64_t* rows,
                       const int64_t* columns, float* target);
int nst_border_backward(nst_engine*, const nst_border*, const float* gradient, const int64_t* rows,
                        const int64_t* columns, float* target);

/* ---- lrn.cpp: across channels ---- */
int nst_lrn(nst_engine*, const float* source, float* scale, float* target, int64_t images,
            int64_t channels, int64_t pixels, int64_t size, float alpha, float beta, float k);
int nst_lrn_backward(nst_engine*, const float* source, const float* target, const float* scale,
                     const float* gradient, float* source_gradient, int64_t images, int64_t channels,
                     int64_t pixels, int64_t size, float alpha, float beta);

/* ---- gram.cpp: one image; gram (C, C) ---- */
int nst_gram(nst_engine*, const float* source, float* gram, int64_t channels, int64_t pixels, float scale);
/* target (+)= scale * (d + d^T) * source */
int nst_gram_backward(nst_engine*, const float* d, const float* source, float* target, int64_t channels,
                      int64_t pixels, float scale, int flags);

/* ---- gemm.cpp: c (m, n) = a (m, k) * b (k, n) (+ c); strides in floats, any of them ---- */
int nst_gemm(nst_engine*, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
             const float* b, int64_t b_row, int64_t b_column, float* c, int64_t c_row, int accumulate);

/* ---- per_channel.cpp ---- */
int nst_channel_moments(nst_engine*, const nst_channels*, const float* x, double* mean, double* variance);
int nst_channel_affine(nst_engine*, const nst_channels*, const float* x, const nst_affine*, float* out,
                       int flags);
/* g = gradient where gate is positive (everywhere without a gate). out = g * factor; sums (2, channels): of g
 * and of g * (x - center). Without x the second is 0; gate, x, center, factor, out and sums may be NULL. */
int nst_channel_gradient(nst_engine*, const nst_channels*, const float* gradient, const float* gate,
                         const float* x, const float* center, const float* factor, float* out, double* sums);
int nst_channel_spread(nst_engine*, const nst_channels*, const float* gradient, const float* x,
                       const nst_spread*, float* out);

/* ---- vector.cpp: flat arrays of any alignment; sums are accumulated in double ---- */
int nst_dot(nst_engine*, const float* a, const float* b, int64_t n, double* result);
int nst_axpby(nst_engine*, float alpha, const float* x, float beta, const float* y, float* out, int64_t n);
/* The positive part of axpby. */
int nst_axpby_relu(nst_engine*, float alpha, const float* x, float beta, const float* y, float* out,
                   int64_t n);
int nst_scale(nst_engine*, float alpha, const float* x, float* out, int64_t n);
int nst_relu(nst_engine*, const float* x, float slope, float* out, int64_t n);
int nst_relu_backward(nst_engine*, const float* gradient, const float* x, float slope, float* out,
                      int64_t n);
/* y = (y + alpha * x) * gate; result = y . z. gate may be NULL: 1. */
int nst_axpy_dot(nst_engine*, float alpha, const float* x, float* y, const float* z, const float* gate,
                 int64_t n, double* result);
/* history = momentum * history + rate * diff; diff = history; data -= diff. */
int nst_sgd_step(nst_engine*, float* data, float* diff, float* history, int64_t n, float rate,
                 float momentum);
/* mean, square: running means of diff and its square; diff = rate * mean / (sqrt(square) + delta);
 * data -= diff. */
int nst_adam_step(nst_engine*, float* data, float* diff, float* mean, float* square, int64_t n, float rate,
                  float momentum, float momentum2, float delta);

#if defined(__cplusplus)
}
#endif
