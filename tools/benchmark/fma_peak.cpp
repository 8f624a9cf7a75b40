// Multiply-adds on registers only, as many as the processor can do: the yardstick of a benchmark run.
// Usage: fma_peak THREADS   prints GFLOP/s: all threads run at once, each counts its best of many short bursts,
// so that a busy machine does not lower the yardstick.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4)));
constexpr int kChains = 12;  // more than latency * units
constexpr long kSteps = 200000;
constexpr int kBursts = 400;

float burst() {
  volatile float seed = 1.f;  // read anew for each chain, or the compiler would see that all are equal
  const auto start = [&] { return Vec{} + seed; };
  Vec a0 = start(), a1 = start(), a2 = start(), a3 = start(), a4 = start(), a5 = start(), a6 = start();
  Vec a7 = start(), a8 = start(), a9 = start(), a10 = start(), a11 = start();
  const Vec x = 0.999f * start(), y = 0.001f * start();
  for (long i = 0; i < kSteps; ++i) {
    a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y, a4 = a4 * x + y, a5 = a5 * x + y;
    a6 = a6 * x + y, a7 = a7 * x + y, a8 = a8 * x + y, a9 = a9 * x + y, a10 = a10 * x + y;
    a11 = a11 * x + y;
  }
  return (a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11)[0];
}

double best_rate() {
  double best = 0;
  volatile float sink = 0;
  for (int i = 0; i < kBursts; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    sink = sink + burst();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * kLanes * kChains * kSteps / seconds / 1e9);
  }
  return best;
}

int main(int argc, char** argv) {
  std::vector<double> rates(argc > 1 ? std::atoi(argv[1]) : 1);
  std::vector<std::thread> team;
  for (double& rate : rates) team.emplace_back([&rate] { rate = best_rate(); });
  for (std::thread& member : team) member.join();
  double total = 0;
  for (double rate : rates) total += rate;
  std::printf("%.1f\n", total);
}
