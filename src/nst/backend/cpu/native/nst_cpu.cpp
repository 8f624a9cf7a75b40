// The C interface: forwards to the kernels and turns exceptions into return codes.
#include "nst_cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstring>
#include <exception>
#include <new>

#include "kernels.h"
#include "simd.h"

#define NST_EXPORT extern "C" __attribute__((visibility("default")))

struct nst_engine : nst::Engine {
  using nst::Engine::Engine;
};

namespace {

// Runs a kernel with the engine to itself.
template <class Kernel>
int guarded(nst_engine* engine, Kernel kernel) {
  const auto lock = engine->lock();
  try {
    kernel();
    return 0;
  } catch (const std::bad_alloc&) {
    engine->error = "out of memory";
  } catch (const std::exception& error) {
    engine->error = error.what();
  }
  return -1;
}

nst_gate of(const nst_gate* gate) { return gate ? *gate : nst_gate{nullptr, 0}; }

}  // namespace

NST_EXPORT int nst_abi_version(void) { return NST_ABI_VERSION; }
NST_EXPORT const char* nst_isa(void) { return NST_ISA; }
NST_EXPORT int nst_lanes(void) { return nst::kLanes; }
NST_EXPORT const char* nst_best_isa(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  return avx512 && avx2 ? "avx512" : avx2 ? "avx2" : "baseline";
#else
  return NST_ISA;
#endif
}

NST_EXPORT int nst_has_bf16(void) {
#if defined(__AVX512F__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);  // AVX512_BF16
#else
  return NST_LANES == 16;  // spelled out
#endif
}

NST_EXPORT nst_engine* nst_engine_create(int threads) { return new (std::nothrow) nst_engine(threads); }
NST_EXPORT void nst_engine_destroy(nst_engine* engine) { delete engine; }
NST_EXPORT int nst_engine_threads(const nst_engine* engine) { return engine->pool.threads(); }
NST_EXPORT const char* nst_error(const nst_engine* engine) { return engine->error.c_str(); }
NST_EXPORT int nst_engine_trim(nst_engine* engine) {
  return guarded(engine, [&] {
    engine->arena.clear();
    engine->weights.clear();
  });
}

NST_EXPORT void* nst_allocate(int64_t bytes) {
  try {
    void* const memory = nst::allocate(static_cast<size_t>(bytes));
    std::memset(memory, 0, static_cast<size_t>(bytes));
    return memory;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
NST_EXPORT void nst_release(void* memory) { nst::release(memory); }

NST_EXPORT int nst_positive_gate(nst_engine* engine, const float* source, int64_t images, int64_t channels,
                                 int64_t pixels, int64_t source_stride, const nst_gate* gate) {
  return guarded(engine, [&] {
    nst::positive_gate(*engine, source, images, channels, pixels, source_stride, *gate);
  });
}

NST_EXPORT int nst_to_blocked(nst_engine* engine, const float* planar, float* blocked, int64_t images,
                              int64_t channels, int64_t pixels, int64_t planar_stride,
                              int64_t blocked_stride) {
  return guarded(engine, [&] {
    nst::to_blocked(*engine, planar, blocked, images, channels, pixels, planar_stride, blocked_stride);
  });
}
NST_EXPORT int nst_to_planar(nst_engine* engine, const float* blocked, float* planar, int64_t images,
                             int64_t channels, int64_t pixels, int64_t blocked_stride,
                             int64_t planar_stride) {
  return guarded(engine, [&] {
    nst::to_planar(*engine, blocked, planar, images, channels, pixels, blocked_stride, planar_stride);
  });
}

NST_EXPORT int64_t nst_winograd_filter_floats(const nst_conv* conv, int tile, int backward, int form) {
  return nst::winograd_filter_floats(*conv, tile, backward, form);
}
NST_EXPORT int nst_winograd_pack(nst_engine* engine, const nst_conv* conv, int tile, int backward,
                                 int form, const float* weights, float* packed) {
  return guarded(engine, [&] { nst::winograd_pack(*engine, *conv, tile, backward, form, weights, packed); });
}
NST_EXPORT int nst_winograd(nst_engine* engine, const nst_conv* conv, int tile, int backward, int form,
                            const float* source, const nst_gate* gate, const float* packed, const float* bias,
                            float* target, int flags) {
  return guarded(engine, [&] {
    nst::winograd(*engine, *conv, tile, backward, form, {source, of(gate), packed, bias, target, flags});
  });
}

NST_EXPORT int64_t nst_conv_filter_floats(const nst_conv* conv) {
  return nst::convolution_filter_floats(*conv);
}
NST_EXPORT int nst_conv_pack(nst_engine* engine, const nst_conv* conv, int backward, const float* weights,
                             float* packed) {
  return guarded(engine, [&] { nst::convolution_pack(*engine, *conv, backward, weights, packed); });
}
NST_EXPORT int nst_conv_run(nst_engine* engine, const nst_conv* conv, int backward, const float* source,
                            const nst_gate* gate, const float* packed, const float* bias, float* target,
                            int flags) {
  return guarded(engine, [&] {
    nst::convolution(*engine, *conv, backward, {source, of(gate), packed, bias, target, flags});
  });
}

NST_EXPORT int64_t nst_first_filter_floats(const nst_conv* conv, int backward) {
  return nst::first_layer_filter_floats(*conv, backward);
}
NST_EXPORT int nst_first_pack(nst_engine* engine, const nst_conv* conv, int backward, const float* weights,
                              float* packed) {
  return guarded(engine, [&] { nst::first_layer_pack(*conv, backward, weights, packed); });
}
NST_EXPORT int nst_first_forward(nst_engine* engine, const nst_conv* conv, const float* planar,
                                 const nst_gate* gate, const float* packed, const float* bias, float* blocked,
                                 int flags) {
  return guarded(engine, [&] {
    nst::first_layer_forward(*engine, *conv, planar, of(gate), packed, bias, blocked, flags);
  });
}
NST_EXPORT int nst_first_backward(nst_engine* engine, const nst_conv* conv, const float* gradient,
                                  const nst_gate* gate, const float* packed, float* planar) {
  return guarded(engine,
                 [&] { nst::first_layer_backward(*engine, *conv, gradient, of(gate), packed, planar); });
}

NST_EXPORT int nst_conv_weight_gradient(nst_engine* engine, const nst_conv* conv, const float* source,
                                        const float* gradient, float* weight_gradient,
                                        float* bias_gradient) {
  return guarded(engine, [&] {
    if (weight_gradient) nst::weight_gradient(*engine, *conv, source, gradient, weight_gradient);
    if (bias_gradient) nst::bias_gradient(*engine, *conv, gradient, bias_gradient);
  });
}
NST_EXPORT int nst_first_weight_gradient(nst_engine* engine, const nst_conv* conv, const float* planar,
                                         const float* gradient, float* weight_gradient,
                                         float* bias_gradient) {
  return guarded(engine, [&] {
    if (weight_gradient)
      nst::first_layer_weight_gradient(*engine, *conv, planar, gradient, weight_gradient);
    if (bias_gradient) nst::bias_gradient(*engine, *conv, gradient, bias_gradient);
  });
}

NST_EXPORT int nst_max_pool(nst_engine* engine, const nst_pool* pool, const float* source, float* target,
                            int32_t* winner) {
  return guarded(engine, [&] { nst::max_pool(*engine, *pool, source, target, winner); });
}
NST_EXPORT int nst_max_pool_backward(nst_engine* engine, const nst_pool* pool, const float* gradient,
                                     const int32_t* winner, float* target) {
  return guarded(engine, [&] { nst::max_pool_backward(*engine, *pool, gradient, winner, target); });
}
NST_EXPORT int nst_max_pool_gated(nst_engine* engine, const nst_pool* pool, const float* source, float* target,
                                  const nst_gate* gate, int flags) {
  return guarded(engine, [&] { nst::max_pool_gated(*engine, *pool, source, target, *gate, flags & NST_RELU); });
}
NST_EXPORT int nst_max_pool_gated_backward(nst_engine* engine, const nst_pool* pool, const float* gradient,
                                           const nst_gate* gate, float* target) {
  return guarded(engine, [&] { nst::max_pool_gated_backward(*engine, *pool, gradient, *gate, target); });
}
NST_EXPORT int nst_avg_pool(nst_engine* engine, const nst_pool* pool, const float* source, float* target) {
  return guarded(engine, [&] { nst::avg_pool(*engine, *pool, source, target); });
}
NST_EXPORT int nst_avg_pool_backward(nst_engine* engine, const nst_pool* pool, const float* gradient,
                                     float* target) {
  return guarded(engine, [&] { nst::avg_pool_backward(*engine, *pool, gradient, target); });
}

NST_EXPORT int nst_border_forward(nst_engine* engine, const nst_border* border, const float* source,
                                  const int64_t* rows, const int64_t* columns, float* target) {
  return guarded(engine, [&] { nst::border(*engine, *border, source, rows, columns, target); });
}
NST_EXPORT int nst_border_backward(nst_engine* engine, const nst_border* border, const float* gradient,
                                   const int64_t* rows, const int64_t* columns, float* target) {
  return guarded(engine, [&] { nst::border_backward(*engine, *border, gradient, rows, columns, target); });
}

NST_EXPORT int nst_lrn(nst_engine* engine, const float* source, float* scale, float* target,
                       int64_t images, int64_t channels, int64_t pixels, int64_t size, float alpha,
                       float beta, float k) {
  return guarded(engine, [&] {
    nst::lrn(*engine, source, scale, target, images, channels, pixels, {size, alpha, beta, k});
  });
}
NST_EXPORT int nst_lrn_backward(nst_engine* engine, const float* source, const float* target,
                                const float* scale, const float* gradient, float* source_gradient,
                                int64_t images, int64_t channels, int64_t pixels, int64_t size,
                                float alpha, float beta) {
  return guarded(engine, [&] {
    nst::lrn_backward(*engine, source, target, scale, gradient, source_gradient, images, channels, pixels,
                      {size, alpha, beta, 0.f});
  });
}

NST_EXPORT int nst_gram(nst_engine* engine, const float* source, float* gram, int64_t channels,
                        int64_t pixels, float scale) {
  return guarded(engine, [&] { nst::gram(*engine, source, gram, channels, pixels, scale); });
}
NST_EXPORT int nst_gram_backward(nst_engine* engine, const float* d, const float* source, float* target,
                                 int64_t channels, int64_t pixels, float scale, int flags) {
  return guarded(engine, [&] {
    nst::gram_backward(*engine, d, source, target, channels, pixels, scale, flags & NST_ACCUMULATE);
  });
}

NST_EXPORT int nst_gemm(nst_engine* engine, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row,
                        int64_t a_column, const float* b, int64_t b_row, int64_t b_column, float* c,
                        int64_t c_row, int accumulate) {
  return guarded(engine, [&] {
    nst::gemm(*engine, m, n, k, {a, a_row, a_column}, {b, b_row, b_column}, c, c_row, accumulate);
  });
}

NST_EXPORT int nst_channel_moments(nst_engine* engine, const nst_channels* channels, const float* x,
                                   double* mean, double* variance) {
  return guarded(engine, [&] { nst::channel_moments(*engine, *channels, x, mean, variance); });
}
NST_EXPORT int nst_channel_affine(nst_engine* engine, const nst_channels* channels, const float* x,
                                  const nst_affine* affine, float* out, int flags) {
  return guarded(engine, [&] { nst::channel_affine(*engine, *channels, x, *affine, out, flags & NST_RELU); });
}
NST_EXPORT int nst_channel_gradient(nst_engine* engine, const nst_channels* channels, const float* gradient,
                                    const float* gate, const float* x, const float* center,
                                    const float* factor, float* out, double* sums) {
  return guarded(engine, [&] {
    nst::channel_gradient(*engine, *channels, gradient, gate, x, center, factor, out, sums);
  });
}
NST_EXPORT int nst_channel_spread(nst_engine* engine, const nst_channels* channels, const float* gradient,
                                  const float* x, const nst_spread* spread, float* out) {
  return guarded(engine, [&] { nst::channel_spread(*engine, *channels, gradient, x, *spread, out); });
}

NST_EXPORT int nst_dot(nst_engine* engine, const float* a, const float* b, int64_t n, double* result) {
  return guarded(engine, [&] { *result = nst::dot(*engine, a, b, n); });
}
NST_EXPORT int nst_axpby(nst_engine* engine, float alpha, const float* x, float beta, const float* y,
                         float* out, int64_t n) {
  return guarded(engine, [&] { nst::axpby(*engine, alpha, x, beta, y, out, n); });
}
NST_EXPORT int nst_axpby_relu(nst_engine* engine, float alpha, const float* x, float beta, const float* y,
                              float* out, int64_t n) {
  return guarded(engine, [&] { nst::axpby_relu(*engine, alpha, x, beta, y, out, n); });
}
NST_EXPORT int nst_scale(nst_engine* engine, float alpha, const float* x, float* out, int64_t n) {
  return guarded(engine, [&] { nst::scale(*engine, alpha, x, out, n); });
}
NST_EXPORT int nst_relu(nst_engine* engine, const float* x, float slope, float* out, int64_t n) {
  return guarded(engine, [&] { nst::relu(*engine, x, slope, out, n); });
}
NST_EXPORT int nst_relu_backward(nst_engine* engine, const float* gradient, const float* x, float slope,
                                 float* out, int64_t n) {
  return guarded(engine, [&] { nst::relu_backward(*engine, gradient, x, slope, out, n); });
}
NST_EXPORT int nst_axpy_dot(nst_engine* engine, float alpha, const float* x, float* y, const float* z,
                            const float* gate, int64_t n, double* result) {
  return guarded(engine, [&] { *result = nst::axpy_dot(*engine, alpha, x, y, z, gate, n); });
}
NST_EXPORT int nst_sgd_step(nst_engine* engine, float* data, float* diff, float* history, int64_t n,
                            float rate, float momentum) {
  return guarded(engine, [&] { nst::sgd_step(*engine, data, diff, history, n, rate, momentum); });
}
NST_EXPORT int nst_adam_step(nst_engine* engine, float* data, float* diff, float* mean, float* square,
                             int64_t n, float rate, float momentum, float momentum2, float delta) {
  return guarded(engine, [&] {
    nst::adam_step(*engine, data, diff, mean, square, n, {rate, momentum, momentum2, delta});
  });
}
