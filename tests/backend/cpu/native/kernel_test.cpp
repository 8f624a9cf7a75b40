// Every kernel of the CPU engine against plain loops in double, in buffers of the exact size.
//
// Built with the address and undefined-behaviour sanitizers (see CMakeLists.txt) and, for another processor,
// under an emulator. Prints one line per check that fails; exits with the number of failures.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "nst_cpu.h"

namespace {

using Floats = std::vector<float>;

int failures = 0, checks = 0;
std::mt19937 generator(1);

int64_t blocks(int64_t channels) { return (channels + 15) / 16; }

// 64-byte aligned and not one float longer than asked, so that the sanitizer sees any step beyond.
struct Buffer {
  explicit Buffer(int64_t count) : size(count) {
    data.reset(static_cast<float*>(std::aligned_alloc(64, (count * 4 + 63) / 64 * 64)));
    std::fill(data.get(), data.get() + count, NAN);
  }
  float* get() { return data.get(); }
  int64_t size;
  std::unique_ptr<float, decltype(&std::free)> data{nullptr, std::free};
};

Floats random_floats(int64_t count) {
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// The gate of a blocked map: bits of its own size, all set to what `fill` says.
struct Gate {
  Gate(int64_t images, int64_t channels, int64_t pixels, int fill)
      : bits(images * blocks(channels) * pixels, static_cast<uint16_t>(fill)),
        native{bits.data(), blocks(channels) * pixels} {}
  bool is_open(int64_t n, int64_t c, int64_t pixel, int64_t pixels) const {
    return bits[n * native.image_stride + c / 16 * pixels + pixel] >> c % 16 & 1;
  }
  std::vector<uint16_t> bits;
  nst_gate native;
};

void check(const std::string& what, const std::vector<double>& expected, const float* got, double tolerance) {
  double error = 0, size = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  ++checks;
  if (std::sqrt(error / size) < tolerance) return;
  ++failures;
  std::printf("FAILED %s: relative error %.2e, allowed %.0e\n", what.c_str(), std::sqrt(error / size), tolerance);
}

struct Case {
  int64_t n, c, k, h, w, kh, kw, sh, sw, ph, pw, dh, dw;
  int64_t out_h() const { return (h + 2 * ph - dh * (kh - 1) - 1) / sh + 1; }
  int64_t out_w() const { return (w + 2 * pw - dw * (kw - 1) - 1) / sw + 1; }
  std::string name() const {
    return std::to_string(c) + "->" + std::to_string(k) + " " + std::to_string(h) + "x" + std::to_string(w) +
           " kernel " + std::to_string(kh) + "x" + std::to_string(kw) + " stride " + std::to_string(sh);
  }
};

// Calls body(output index, input index, weight index) for every product of a convolution.
template <class Body>
void for_each_product(const Case& t, Body body) {
  for (int64_t n = 0; n < t.n; ++n)
    for (int64_t k = 0; k < t.k; ++k)
      for (int64_t y = 0; y < t.out_h(); ++y)
        for (int64_t x = 0; x < t.out_w(); ++x)
          for (int64_t c = 0; c < t.c; ++c)
            for (int64_t i = 0; i < t.kh; ++i)
              for (int64_t j = 0; j < t.kw; ++j) {
                const int64_t in_y = y * t.sh - t.ph + i * t.dh, in_x = x * t.sw - t.pw + j * t.dw;
                if (in_y < 0 || in_y >= t.h || in_x < 0 || in_x >= t.w) continue;
                body(((n * t.k + k) * t.out_h() + y) * t.out_w() + x, ((n * t.c + c) * t.h + in_y) * t.w + in_x,
                     ((k * t.c + c) * t.kh + i) * t.kw + j);
              }
}

class ConvolutionTest {
 public:
  ConvolutionTest(nst_engine* engine, const Case& t)
      : engine_(engine), t_(t), x_(random_floats(t.n * t.c * t.h * t.w)),
        w_(random_floats(t.k * t.c * t.kh * t.kw)), dy_(random_floats(t.n * t.k * pixels())),
        conv_{t.n,  t.c,  t.k,  t.h,  t.w,  t.out_h(),         t.out_w(),           t.kh, t.kw, t.sh, t.sw,
              t.ph, t.pw, t.dh, t.dw, blocks(t.c) * t.h * t.w * 16, blocks(t.k) * pixels() * 16},
        y_(t.n * t.k * pixels()), dx_(x_.size()), dw_(w_.size()), bx_(t.n * conv_.in_stride), by_(t.n * conv_.out_stride),
        bdy_(t.n * conv_.out_stride), gated_(t.n * conv_.out_stride), gate_(t.n, t.k, pixels(), 0),
        made_(t.n, t.k, pixels(), 0xffff) {
    for (uint16_t& bits : gate_.bits) bits = static_cast<uint16_t>(generator());
    nst_to_blocked(engine, dy_.data(), gated_.get(), t.n, t.k, pixels(), t.k * pixels(), conv_.out_stride);
    for (int64_t i = 0; i < t.n * t.k * pixels(); ++i)
      if (!gate_.is_open(i / pixels() / t.k, i / pixels() % t.k, i % pixels(), pixels())) dy_[i] = 0;
    for_each_product(t, [&](int64_t o, int64_t i, int64_t k) {
      y_[o] += double(w_[k]) * x_[i];
      dx_[i] += double(w_[k]) * dy_[o];
      dw_[k] += double(dy_[o]) * x_[i];
    });
    nst_to_blocked(engine, x_.data(), bx_.get(), t.n, t.c, t.h * t.w, t.c * t.h * t.w, conv_.in_stride);
    nst_to_blocked(engine, dy_.data(), bdy_.get(), t.n, t.k, pixels(), t.k * pixels(), conv_.out_stride);
  }

  void winograd(int tile, int form) {
    for (int backward = 0; backward < 2; ++backward) {
      Buffer packed(nst_winograd_filter_floats(&conv_, tile, backward, form));
      nst_winograd_pack(engine_, &conv_, tile, backward, form, w_.data(), packed.get());
      nst_winograd(engine_, &conv_, tile, backward, form, source(backward), gate(backward), packed.get(),
                   nullptr, target(backward), 0);
      compare("winograd " + std::to_string(tile), backward, form == NST_BF16 ? 4e-2 : 1e-5);
    }
  }

  void gather() {
    for (int backward = 0; backward < 2; ++backward) {
      Buffer packed(nst_conv_filter_floats(&conv_));
      nst_conv_pack(engine_, &conv_, backward, w_.data(), packed.get());
      nst_conv_run(engine_, &conv_, backward, source(backward), gate(backward), packed.get(), nullptr,
                   target(backward), 0);
      compare("gather", backward);
    }
    Floats dw(w_.size(), 0.f);
    nst_conv_weight_gradient(engine_, &conv_, bx_.get(), bdy_.get(), dw.data(), nullptr);
    check("weight gradient " + t_.name(), dw_, dw.data(), 1e-5);
  }

  void first() {
    Buffer packed(nst_first_filter_floats(&conv_, 0)), turned(nst_first_filter_floats(&conv_, 1));
    nst_first_pack(engine_, &conv_, 0, w_.data(), packed.get());
    nst_first_pack(engine_, &conv_, 1, w_.data(), turned.get());
    nst_first_forward(engine_, &conv_, x_.data(), gate(0), packed.get(), nullptr, by_.get(), 0);
    compare("first", 0);
    Floats dx(x_.size()), dw(w_.size(), 0.f);
    nst_first_backward(engine_, &conv_, gated_.get(), gate(1), turned.get(), dx.data());
    check("first backward " + t_.name(), dx_, dx.data(), 1e-5);
    nst_first_weight_gradient(engine_, &conv_, x_.data(), bdy_.get(), dw.data(), nullptr);
    check("first weight gradient " + t_.name(), dw_, dw.data(), 1e-5);
  }

 private:
  int64_t pixels() const { return t_.out_h() * t_.out_w(); }
  const float* source(int backward) { return backward ? gated_.get() : bx_.get(); }
  const nst_gate* gate(int backward) { return backward ? &gate_.native : &made_.native; }
  float* target(int backward) { return backward ? bx2_.get() : by_.get(); }
  void compare(const std::string& what, int backward, double tolerance = 1e-5) {
    Floats planar(backward ? x_.size() : y_.size());
    if (backward)
      nst_to_planar(engine_, bx2_.get(), planar.data(), t_.n, t_.c, t_.h * t_.w, conv_.in_stride, t_.c * t_.h * t_.w);
    else
      nst_to_planar(engine_, by_.get(), planar.data(), t_.n, t_.k, pixels(), conv_.out_stride, t_.k * pixels());
    check(what + (backward ? " backward " : " ") + t_.name(), backward ? dx_ : y_, planar.data(), tolerance);
    if (backward) return;
    std::vector<double> open(planar.size());
    Floats made(planar.size());
    for (size_t i = 0; i < planar.size(); ++i) {
      const int64_t map = i / pixels();
      open[i] = planar[i] > 0;
      made[i] = made_.is_open(map / t_.k, map % t_.k, i % pixels(), pixels());
    }
    check(what + " gate " + t_.name(), open, made.data(), 1e-6);
  }

  nst_engine* engine_;
  Case t_;
  Floats x_, w_, dy_;
  nst_conv conv_;
  std::vector<double> y_, dx_, dw_;
  Buffer bx_, by_, bdy_, gated_, bx2_{bx_.size};
  Gate gate_, made_;  // what backward reads, and what forward writes
};

void test_convolutions(nst_engine* engine) {
  const Case threes[] = {{1, 16, 16, 12, 12, 3, 3, 1, 1, 1, 1, 1, 1}, {2, 5, 17, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1},
                         {2, 17, 100, 9, 7, 3, 3, 1, 1, 1, 1, 1, 1},  {1, 48, 33, 15, 22, 3, 3, 1, 1, 0, 2, 1, 1},
                         {1, 300, 40, 33, 18, 3, 3, 1, 1, 1, 1, 1, 1}};
  for (const Case& t : threes)
    for (int tile : {2, 4, 6})
      for (int form : {NST_TAPS, NST_EXPANDED}) ConvolutionTest(engine, t).winograd(tile, form);
  for (const Case& t : threes)
    if (nst_has_bf16()) ConvolutionTest(engine, t).winograd(4, NST_BF16);
  const Case others[] = {{1, 20, 33, 10, 10, 1, 1, 1, 1, 0, 0, 1, 1}, {2, 24, 40, 14, 9, 5, 5, 1, 1, 2, 2, 1, 1},
                         {1, 17, 5, 15, 19, 3, 2, 2, 3, 1, 0, 1, 1},  {1, 17, 20, 9, 9, 1, 1, 2, 2, 0, 0, 1, 1},
                         {1, 20, 8, 13, 9, 3, 3, 2, 2, 1, 1, 2, 2},   {1, 9, 40, 5, 6, 2, 2, 3, 3, 0, 0, 1, 1}};
  for (const Case& t : others) ConvolutionTest(engine, t).gather();
  const Case pictures[] = {{2, 3, 64, 13, 31, 3, 3, 1, 1, 1, 1, 1, 1}, {1, 3, 96, 37, 45, 7, 7, 2, 2, 3, 0, 1, 1},
                           {1, 1, 5, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1},    {2, 4, 17, 25, 20, 5, 3, 4, 3, 0, 1, 1, 2}};
  for (const Case& t : pictures) ConvolutionTest(engine, t).first();
}

void test_pooling(nst_engine* engine) {
  const int64_t c = 17, h = 9, w = 7, oh = 5, ow = 4, p = oh * ow;
  const nst_pool pool = {1, c, h, w, oh, ow, 3, 3, 2, 2, 1, 1, 2 * h * w * 16, 2 * p * 16};
  const Floats x = random_floats(c * h * w), dy = random_floats(c * p);
  Buffer bx(2 * h * w * 16), by(2 * p * 16), winner(2 * p * 16), bdy(2 * p * 16), bdx(2 * h * w * 16);
  nst_to_blocked(engine, x.data(), bx.get(), 1, c, h * w, 0, 0);
  nst_to_blocked(engine, dy.data(), bdy.get(), 1, c, p, 0, 0);
  std::vector<double> best(c * p, -1e30), mean(c * p, 0), best_dx(c * h * w, 0), mean_dx(c * h * w, 0);
  for (int64_t o = 0; o < c * p; ++o) {
    const int64_t y0 = o / ow % oh * 2 - 1, x0 = o % ow * 2 - 1;
    const double size = double(std::min(y0 + 3, h + 1) - y0) * double(std::min(x0 + 3, w + 1) - x0);
    int64_t won = 0;
    for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y0 + 3, h); ++y)
      for (int64_t xx = std::max<int64_t>(x0, 0); xx < std::min(x0 + 3, w); ++xx) {
        const int64_t at = (o / p * h + y) * w + xx;
        if (x[at] > best[o]) best[o] = x[at], won = at;
        mean[o] += x[at] / size;
        mean_dx[at] += dy[o] / size;
      }
    best_dx[won] += dy[o];
  }
  Floats y(c * p), dx(c * h * w);
  int32_t* const winners = reinterpret_cast<int32_t*>(winner.get());
  nst_max_pool(engine, &pool, bx.get(), by.get(), winners);
  nst_to_planar(engine, by.get(), y.data(), 1, c, p, 0, 0);
  check("max pooling", best, y.data(), 1e-7);
  nst_max_pool_backward(engine, &pool, bdy.get(), winners, bdx.get());
  nst_to_planar(engine, bdx.get(), dx.data(), 1, c, h * w, 0, 0);
  check("max pooling backward", best_dx, dx.data(), 1e-6);
  nst_avg_pool(engine, &pool, bx.get(), by.get());
  nst_to_planar(engine, by.get(), y.data(), 1, c, p, 0, 0);
  check("mean pooling", mean, y.data(), 1e-6);
  nst_avg_pool_backward(engine, &pool, bdy.get(), bdx.get());
  nst_to_planar(engine, bdx.get(), dx.data(), 1, c, h * w, 0, 0);
  check("mean pooling backward", mean_dx, dx.data(), 1e-6);
}

// A convolution that pools what it writes, against one with the pooling kernel after it.
void pooled_forward(nst_engine* engine, const nst_conv& conv, const nst_pool& pool, int tile, const Floats& weights,
                    const float* source) {
  const int64_t c = conv.in_channels, h = conv.in_h, w = conv.in_w, p = pool.out_h * pool.out_w;
  Buffer packed(nst_winograd_filter_floats(&conv, tile, 0, 1)), whole(blocks(c) * h * w * 16);
  Buffer half(blocks(c) * p * 16), pooled(half.size);
  Gate expected(1, c, h * w, 0xffff), got(1, c, h * w, 0xffff);
  nst_winograd_pack(engine, &conv, tile, 0, 1, weights.data(), packed.get());
  nst_winograd(engine, &conv, tile, 0, 1, source, nullptr, packed.get(), nullptr, whole.get(), NST_RELU);
  nst_max_pool_gated(engine, &pool, whole.get(), half.get(), &expected.native, NST_RELU);
  nst_winograd(engine, &conv, tile, 0, 1, source, &got.native, packed.get(), nullptr, pooled.get(),
               NST_RELU | NST_POOLED);
  check("winograd that pools", {half.get(), half.get() + half.size}, pooled.get(), 1e-7);
  const Floats bits(got.bits.begin(), got.bits.end());
  check("winograd's winners", {expected.bits.begin(), expected.bits.end()}, bits.data(), 1e-7);
}

// Pooling by a gate, spread by its own kernel and by the convolution that reads it.
void test_gated_pooling(nst_engine* engine) {
  const int64_t c = 17, h = 9, w = 7, oh = 5, ow = 4, p = oh * ow;
  const nst_pool pool = {1, c, h, w, oh, ow, 2, 2, 2, 2, 0, 0, 0, 0};
  Floats x = random_floats(c * h * w);
  for (float& value : x) value = std::max(value, 0.f);
  const Floats dy = random_floats(c * p), weights = random_floats(c * c * 9);
  Buffer bx(2 * h * w * 16), by(2 * p * 16), bdy(2 * p * 16), bdx(2 * h * w * 16);
  nst_to_blocked(engine, x.data(), bx.get(), 1, c, h * w, 0, 0);
  nst_to_blocked(engine, dy.data(), bdy.get(), 1, c, p, 0, 0);
  std::vector<double> best(c * p, 0), dx(c * h * w, 0);
  for (int64_t o = 0; o < c * p; ++o) {
    int64_t won = -1;
    for (int64_t y = o / ow % oh * 2; y < std::min(o / ow % oh * 2 + 2, h); ++y)
      for (int64_t xx = o % ow * 2; xx < std::min(o % ow * 2 + 2, w); ++xx)
        if (x[(o / p * h + y) * w + xx] > best[o]) won = (o / p * h + y) * w + xx, best[o] = x[won];
    if (won >= 0) dx[won] += dy[o];
  }
  Gate gate(1, c, h * w, 0xffff);
  Floats y(c * p), spread(c * h * w), once(c * h * w), twice(c * h * w);
  nst_max_pool_gated(engine, &pool, bx.get(), by.get(), &gate.native, NST_RELU);
  nst_to_planar(engine, by.get(), y.data(), 1, c, p, 0, 0);
  check("gated pooling", best, y.data(), 1e-7);
  nst_max_pool_gated_backward(engine, &pool, bdy.get(), &gate.native, bdx.get());
  nst_to_planar(engine, bdx.get(), spread.data(), 1, c, h * w, 0, 0);
  check("gated pooling backward", dx, spread.data(), 1e-7);
  const nst_conv conv = {1, c, c, h, w, h, w, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0};
  for (int tile : {2, 4, 6}) {
    Buffer packed(nst_winograd_filter_floats(&conv, tile, 1, 0)), result(2 * h * w * 16);
    nst_winograd_pack(engine, &conv, tile, 1, 0, weights.data(), packed.get());
    nst_winograd(engine, &conv, tile, 1, 0, bdx.get(), nullptr, packed.get(), nullptr, result.get(), 0);
    nst_to_planar(engine, result.get(), once.data(), 1, c, h * w, 0, 0);
    nst_winograd(engine, &conv, tile, 1, 0, bdy.get(), &gate.native, packed.get(), nullptr, result.get(), NST_POOLED);
    nst_to_planar(engine, result.get(), twice.data(), 1, c, h * w, 0, 0);
    check("winograd of a pooled half", {once.begin(), once.end()}, twice.data(), 1e-5);
    pooled_forward(engine, conv, pool, tile, weights, bx.get());
  }
}

void test_lrn(nst_engine* engine) {
  const int64_t n = 2, c = 21, p = 5, size = 5, count = n * c * p;
  const double alpha = 1.3, beta = 0.75, k = 2;
  const Floats x = random_floats(count), dy = random_floats(count);
  std::vector<double> scale(count, k), y(count), dx(count);
  const auto window = [&](int64_t i, auto body) {
    const int64_t channel = i / p % c;
    for (int64_t s = -2; s <= 2; ++s)
      if (channel + s >= 0 && channel + s < c) body(i + s * p);
  };
  for (int64_t i = 0; i < count; ++i) window(i, [&](int64_t j) { scale[i] += alpha / size * x[j] * x[j]; });
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] * std::pow(scale[i], -beta);
  for (int64_t i = 0; i < count; ++i) {
    dx[i] = dy[i] * std::pow(scale[i], -beta);
    window(i, [&](int64_t j) { dx[i] -= 2 * alpha * beta / size * x[i] * dy[j] * y[j] / scale[j]; });
  }
  const int64_t stride = blocks(c) * p * 16;
  Buffer bx(n * stride), bs(n * stride), by(n * stride), bdy(n * stride), bdx(n * stride);
  nst_to_blocked(engine, x.data(), bx.get(), n, c, p, c * p, stride);
  nst_to_blocked(engine, dy.data(), bdy.get(), n, c, p, c * p, stride);
  Floats planar(count);
  nst_lrn(engine, bx.get(), bs.get(), by.get(), n, c, p, size, alpha, beta, k);
  nst_to_planar(engine, by.get(), planar.data(), n, c, p, stride, c * p);
  check("lrn", y, planar.data(), 1e-6);
  nst_lrn_backward(engine, bx.get(), by.get(), bs.get(), bdy.get(), bdx.get(), n, c, p, size, alpha, beta);
  nst_to_planar(engine, bdx.get(), planar.data(), n, c, p, stride, c * p);
  check("lrn backward", dx, planar.data(), 1e-6);
}

void test_gram(nst_engine* engine, int64_t c, int64_t p) {
  const Floats f = random_floats(c * p), d = random_floats(c * c);
  std::vector<double> gram(c * c), df(c * p);
  for (int64_t i = 0; i < c; ++i)
    for (int64_t j = 0; j < c; ++j)
      for (int64_t q = 0; q < p; ++q) {
        gram[i * c + j] += 0.5 * f[i * p + q] * f[j * p + q];
        df[i * p + q] += 0.25 * (double(d[i * c + j]) + d[j * c + i]) * f[j * p + q];
      }
  Buffer bf(blocks(c) * p * 16), bdf(blocks(c) * p * 16);
  Floats got(c * c), planar(c * p);
  nst_to_blocked(engine, f.data(), bf.get(), 1, c, p, 0, 0);
  nst_gram(engine, bf.get(), got.data(), c, p, 0.5f);
  check("gram", gram, got.data(), 1e-5);
  nst_gram_backward(engine, d.data(), bf.get(), bdf.get(), c, p, 0.25f, 0);
  nst_to_planar(engine, bdf.get(), planar.data(), 1, c, p, 0, 0);
  check("gram backward", df, planar.data(), 1e-5);
}

void test_gemm(nst_engine* engine, int64_t m, int64_t n, int64_t k, bool turn_a, bool turn_b) {
  const Floats a = random_floats(m * k), b = random_floats(k * n);
  const int64_t ar = turn_a ? 1 : k, ac = turn_a ? m : 1, br = turn_b ? 1 : n, bc = turn_b ? k : 1;
  std::vector<double> c(m * n, 1.0);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t q = 0; q < k; ++q) c[i * n + j] += double(a[i * ar + q * ac]) * b[q * br + j * bc];
  Floats got(m * n, 1.f);
  nst_gemm(engine, m, n, k, a.data(), ar, ac, b.data(), br, bc, got.data(), n, 1);
  check("gemm", c, got.data(), 1e-5);
}

void test_border(nst_engine* engine) {
  const int64_t c = 17, h = 3, w = 2, out_h = 5, out_w = 5, rows[] = {0, 0, 1, 2, -1}, columns[] = {1, 0, 1, 1, -1};
  const nst_border sizes = {1, c, h, w, out_h, out_w, 0, 0};
  const Floats x = random_floats(c * h * w), dy = random_floats(c * out_h * out_w);
  std::vector<double> y(dy.size()), dx(x.size());
  for (int64_t k = 0; k < c; ++k)
    for (int64_t i = 0; i < out_h; ++i)
      for (int64_t j = 0; j < out_w; ++j)
        if (rows[i] >= 0 && columns[j] >= 0) {
          y[(k * out_h + i) * out_w + j] = x[(k * h + rows[i]) * w + columns[j]];
          dx[(k * h + rows[i]) * w + columns[j]] += dy[(k * out_h + i) * out_w + j];
        }
  Buffer bx(blocks(c) * h * w * 16), by(blocks(c) * out_h * out_w * 16);
  Floats planar(y.size()), gradient(x.size());
  nst_to_blocked(engine, x.data(), bx.get(), 1, c, h * w, 0, 0);
  nst_border_forward(engine, &sizes, bx.get(), rows, columns, by.get());
  nst_to_planar(engine, by.get(), planar.data(), 1, c, out_h * out_w, 0, 0);
  check("border", y, planar.data(), 1e-6);
  nst_to_blocked(engine, dy.data(), by.get(), 1, c, out_h * out_w, 0, 0);
  nst_border_backward(engine, &sizes, by.get(), rows, columns, bx.get());
  nst_to_planar(engine, bx.get(), gradient.data(), 1, c, h * w, 0, 0);
  check("border backward", dx, gradient.data(), 1e-6);
}

void test_channels(nst_engine* engine) {
  const int64_t n = 2, c = 19, p = 2100;
  const Floats x = random_floats(n * c * p), dy = random_floats(n * c * p);
  Buffer bx(n * blocks(c) * p * 16), bdy(bx.size), out(bx.size);
  const nst_channels sizes = {n, c, p, blocks(c) * p * 16, blocks(c) * p * 16, blocks(c) * p * 16, blocks(c) * p * 16};
  nst_to_blocked(engine, x.data(), bx.get(), n, c, p, c * p, sizes.x_stride);
  nst_to_blocked(engine, dy.data(), bdy.get(), n, c, p, c * p, sizes.x_stride);
  std::vector<double> mean(c), variance(c), sums(2 * c), right(2 * c), y(x.size()), dx(x.size());
  nst_channel_moments(engine, &sizes, bx.get(), mean.data(), variance.data());
  Buffer center(32), factor(32), offset(32), zeros(32);
  for (Buffer* vector : {&center, &factor, &offset, &zeros}) std::fill(vector->get(), vector->get() + 32, 0.f);
  for (int64_t k = 0; k < c; ++k) {
    center.get()[k] = static_cast<float>(mean[k]);
    factor.get()[k] = static_cast<float>(1 / std::sqrt(variance[k]));
    offset.get()[k] = 0.25f * k;
  }
  for (int64_t image = 0; image < n; ++image)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t i = 0; i < p; ++i) {
        const int64_t at = (image * c + k) * p + i;
        const double middle = x[at] - double(center.get()[k]);
        y[at] = std::max(0.0, middle * factor.get()[k] + offset.get()[k]);
        if (y[at] > 0) right[k] += dy[at], right[c + k] += dy[at] * middle;
        dx[at] = (dy[at] - offset.get()[k] - middle * offset.get()[k]) * factor.get()[k];
      }
  const nst_affine affine = {center.get(), factor.get(), offset.get()};
  const nst_spread spread = {center.get(), offset.get(), offset.get(), factor.get()};
  Floats planar(x.size());
  nst_channel_spread(engine, &sizes, bdy.get(), bx.get(), &spread, out.get());
  nst_to_planar(engine, out.get(), planar.data(), n, c, p, sizes.x_stride, c * p);
  check("channel spread", dx, planar.data(), 1e-5);
  nst_channel_affine(engine, &sizes, bx.get(), &affine, out.get(), NST_RELU);
  nst_to_planar(engine, out.get(), planar.data(), n, c, p, sizes.x_stride, c * p);
  check("channel affine", y, planar.data(), 1e-5);
  nst_channel_gradient(engine, &sizes, bdy.get(), out.get(), bx.get(), center.get(), nullptr, bdy.get(), sums.data());
  const Floats got(sums.begin(), sums.end());
  check("channel gradient", right, got.data(), 1e-5);
}

void test_vectors(nst_engine* engine) {
  const int64_t n = 16384 + 37;
  const Floats x = random_floats(n), y = random_floats(n);
  std::vector<double> sum(n), rectified(n), gated(n), product(1);
  for (int64_t i = 0; i < n; ++i) {
    sum[i] = 0.5 * x[i] - 2.0 * y[i];
    rectified[i] = x[i] > 0 ? x[i] : 0.1f * x[i];
    gated[i] = y[i] > 0 ? x[i] : 0.1f * x[i];
    product[0] += double(x[i]) * y[i];
  }
  Floats out(n);
  nst_axpby(engine, 0.5f, x.data(), -2.f, y.data(), out.data(), n);
  check("axpby", sum, out.data(), 1e-6);
  nst_relu(engine, x.data(), 0.1f, out.data(), n);
  check("relu", rectified, out.data(), 1e-6);
  nst_relu_backward(engine, x.data(), y.data(), 0.1f, out.data(), n);
  check("relu backward", gated, out.data(), 1e-6);
  double dot = 0;
  nst_dot(engine, x.data(), y.data(), n, &dot);
  const float single = static_cast<float>(dot);
  check("dot", product, &single, 1e-6);
  Floats data = random_floats(n), diff = y, mean = x, square(n, 0.5f);
  std::vector<double> moved(n), stepped(n);
  for (int64_t i = 0; i < n; ++i) {
    moved[i] = data[i] - (0.9 * x[i] + 0.1 * y[i]);
    const double m = 0.9 * (0.9 * x[i] + 0.1 * y[i]) + 0.1 * (0.9 * x[i] + 0.1 * y[i]);
    const double v = 0.99 * 0.5 + 0.01 * (m * m);
    stepped[i] = moved[i] - 0.2 * m / (std::sqrt(v) + 1e-3);
  }
  nst_sgd_step(engine, data.data(), diff.data(), mean.data(), n, 0.1f, 0.9f);
  check("sgd step", moved, data.data(), 1e-6);
  nst_adam_step(engine, data.data(), diff.data(), mean.data(), square.data(), n, 0.2f, 0.9f, 0.99f, 1e-3f);
  check("adam step", stepped, data.data(), 1e-6);
  Floats moving = y;
  for (int64_t i = 0; i < n; ++i) sum[i] = (y[i] + 0.5 * x[i]) * rectified[i];
  const Floats gate(rectified.begin(), rectified.end());
  nst_axpy_dot(engine, 0.5f, x.data(), moving.data(), x.data(), gate.data(), n, &dot);
  check("axpy dot", sum, moving.data(), 1e-6);
}

}  // namespace

int main() {
  for (int threads : {1, 3}) {
    nst_engine* const engine = nst_engine_create(threads);
    test_convolutions(engine);
    test_pooling(engine);
    test_gated_pooling(engine);
    test_lrn(engine);
    for (int64_t c : {3, 33, 520}) test_gram(engine, c, 219);
    for (int turn = 0; turn < 4; ++turn)
      for (int64_t m : {1, 3, 50}) test_gemm(engine, m, 37, 530, turn & 1, turn & 2);
    test_border(engine);
    test_channels(engine);
    test_vectors(engine);
    nst_engine_destroy(engine);
  }
  std::printf("%s: %d checks, %d failures\n", nst_isa(), checks, failures);
  return failures;
}
