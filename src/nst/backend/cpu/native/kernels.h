// The kernels as C++ functions; nst_cpu.h is the same list with a C interface and says what each one does.
#pragma once

#include <cstdint>

#include "engine.h"
#include "nst_cpu.h"

namespace nst {

// Operands of a convolution between blocked arrays; gate bits and bias may be null.
struct BlockedConvolution {
  const float* source;
  nst_gate gate;
  const float* packed;
  const float* bias;
  float* target;
  int flags;
};

void positive_gate(Engine&, const float* source, int64_t images, int64_t channels, int64_t pixels,
                   int64_t source_stride, const nst_gate&);

void to_blocked(Engine&, const float* planar, float* blocked, int64_t images, int64_t channels,
                int64_t pixels, int64_t planar_stride, int64_t blocked_stride);
void to_planar(Engine&, const float* blocked, float* planar, int64_t images, int64_t channels,
               int64_t pixels, int64_t blocked_stride, int64_t planar_stride);

int64_t winograd_filter_floats(const nst_conv&, int tile, bool backward, int form);
void winograd_pack(Engine&, const nst_conv&, int tile, bool backward, int form, const float* weights,
                   float* packed);
void winograd(Engine&, const nst_conv&, int tile, bool backward, int form, const BlockedConvolution&);

int64_t convolution_filter_floats(const nst_conv&);
void convolution_pack(Engine&, const nst_conv&, bool backward, const float* weights, float* packed);
void convolution(Engine&, const nst_conv&, bool backward, const BlockedConvolution&);

// 1x1, stride 1: `pixels` per image, weights packed as for `convolution`. With NST_ACCUMULATE the products are
// added to what is there, before bias and ReLU.
struct PointwiseShape {
  int64_t images, in, out, pixels, in_stride, out_stride;
};
void pointwise(Engine&, const PointwiseShape&, bool backward, const BlockedConvolution&);

int64_t first_layer_filter_floats(const nst_conv&, bool backward);
void first_layer_pack(const nst_conv&, bool backward, const float* weights, float* packed);
void first_layer_forward(Engine&, const nst_conv&, const float* planar, const nst_gate&, const float* packed,
                         const float* bias, float* blocked, int flags);
void first_layer_backward(Engine&, const nst_conv&, const float* gradient, const nst_gate&,
                          const float* packed, float* planar);

void weight_gradient(Engine&, const nst_conv&, const float* source, const float* gradient, float* weights);
void first_layer_weight_gradient(Engine&, const nst_conv&, const float* planar, const float* gradient,
                                 float* weights);
void bias_gradient(Engine&, const nst_conv&, const float* gradient, float* bias);

void max_pool(Engine&, const nst_pool&, const float* source, float* target, int32_t* winner);
void max_pool_backward(Engine&, const nst_pool&, const float* gradient, const int32_t* winner,
                       float* target);
void max_pool_gated(Engine&, const nst_pool&, const float* source, float* target, const nst_gate&, bool rectified);
void max_pool_gated_backward(Engine&, const nst_pool&, const float* gradient, const nst_gate&, float* target);
void avg_pool(Engine&, const nst_pool&, const float* source, float* target);
void avg_pool_backward(Engine&, const nst_pool&, const float* gradient, float* target);

void border(Engine&, const nst_border&, const float* source, const int64_t* rows, const int64_t* columns,
            float* target);
void border_backward(Engine&, const nst_border&, const float* gradient, const int64_t* rows,
                     const int64_t* columns, float* target);

struct LrnRule {
  int64_t size;
  float alpha, beta, k;
};
void lrn(Engine&, const float* source, float* scale, float* target, int64_t images, int64_t channels,
         int64_t pixels, const LrnRule&);
void lrn_backward(Engine&, const float* source, const float* target, const float* scale,
                  const float* gradient, float* source_gradient, int64_t images, int64_t channels,
                  int64_t pixels, const LrnRule&);

void gram(Engine&, const float* source, float* gram, int64_t channels, int64_t pixels, float scale);
void gram_backward(Engine&, const float* d, const float* source, float* target, int64_t channels,
                   int64_t pixels, float scale, bool accumulate);

struct Matrix {
  const float* data;
  int64_t row, column;  // strides in floats
};
void gemm(Engine&, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
          int64_t c_row, bool accumulate);
// The same for few rows, with rows of a and columns of b contiguous; and for few columns of a, with the rows of b
// contiguous.
void row_products(Engine&, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
                  int64_t c_row, bool accumulate);
void rank_update(Engine&, int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c,
                 int64_t c_row, bool accumulate);

void channel_moments(Engine&, const nst_channels&, const float* x, double* mean, double* variance);
void channel_affine(Engine&, const nst_channels&, const float* x, const nst_affine&, float* out, bool rectify);
void channel_gradient(Engine&, const nst_channels&, const float* gradient, const float* gate, const float* x,
                      const float* center, const float* factor, float* out, double* sums);
void channel_spread(Engine&, const nst_channels&, const float* gradient, const float* x, const nst_spread&,
                    float* out);

double dot(Engine&, const float* a, const float* b, int64_t n);
void axpby(Engine&, float alpha, const float* x, float beta, const float* y, float* out, int64_t n);
void axpby_relu(Engine&, float alpha, const float* x, float beta, const float* y, float* out, int64_t n);
void scale(Engine&, float alpha, const float* x, float* out, int64_t n);
void relu(Engine&, const float* x, float slope, float* out, int64_t n);
void relu_backward(Engine&, const float* gradient, const float* x, float slope, float* out, int64_t n);
double axpy_dot(Engine&, float alpha, const float* x, float* y, const float* z, const float* gate, int64_t n);
void sgd_step(Engine&, float* data, float* diff, float* history, int64_t n, float rate, float momentum);
struct AdamRule {
  float rate, momentum, momentum2, delta;
};
void adam_step(Engine&, float* data, float* diff, float* mean, float* square, int64_t n, const AdamRule&);

}  // namespace nst
