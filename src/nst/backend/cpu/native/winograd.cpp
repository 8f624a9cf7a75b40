// 3x3 stride-1 convolution by Winograd's minimal filtering, fused from the blocked input to the blocked output.
//
// The picture is cut into tiles of M x M outputs. For a block of T tiles:
//   1. input transform:  V[frequency][channel block][tile][16], the ReLU mask applied while loading;
//   2. per panel of 32 outputs, (M+2)^2 small products V * U -> products[frequency][2][tile][16], which stay in
//      the L2 cache;
//   3. output transform, bias, ReLU or accumulation, store.
// The backward pass is the same with the filters turned around and channels swapped (winograd_filters.cpp).
//
// Two schedules. Independent: each worker takes blocks of few tiles through all panels; V stays in its L2 cache.
// Shared: the workers make one V of many tiles and divide the panels. The filters of many channels then pass by
// once per block, as 9 taps, and a piece of them at a time is expanded into the L2 cache just before it is used:
// that costs less than to read four or seven times as much from memory.
#include <algorithm>
#include <stdexcept>

#include "bf16.h"
#include "engine.h"
#include "kernels.h"
#include "microkernel.h"
#include "winograd_filters.h"
#include "winograd_tiles.h"

namespace nst {
namespace {

template <int M, class Operands>
class WinogradConvolution {
 public:
  WinogradConvolution(Engine& engine, const nst_conv& conv, bool backward, int form, const BlockedConvolution& args)
      : engine_(engine), s_(conv, backward), tiles_(s_, backward, args), packed_(args.packed),
        expanded_(form != NST_TAPS), rows_(filter_rows(s_.in, form)), blocks_(padded(s_.in) / kBlock) {}

  void run() {
    if (expanded_ && ceil_div(tiles_.count(), cached_tiles()) >= 2 * engine_.pool.threads())
      run_independent();
    else
      run_shared();
  }

 private:
  static constexpr int A = M + 2;
  static constexpr int kFrequencies = A * A;
  static constexpr int kPairRows = 2 * A;  // frequencies of a pair of rows
  // Filters are expanded for one pair of rows and so many channel blocks at a time: less than 400 KiB.
  static constexpr int64_t kExpandedBlocks = M == 6 ? 8 : 16;
  static constexpr int64_t kMostShared = 128;  // tiles

  // Scratch of one block of tiles. The odd cache lines keep frequencies out of each other's cache sets.
  struct Buffers {
    int64_t tiles, blocks;
    int64_t product_block() const { return tiles * kBlock; }
    int64_t product_stride() const { return tiles * kPanel + 48; }
    int64_t products() const { return kFrequencies * product_stride(); }
    int64_t input_stride() const { return round_up(blocks * tiles * Operands::kWords, kBlock) + 80; }
    int64_t inputs() const { return kFrequencies * input_stride(); }
  };

  // The tiles [begin, end) of a block that begins at tile `first`.
  struct Range {
    int64_t first, begin, end;
    int64_t count() const { return end - begin; }
  };

  // Tiles of a block in which V stays within a quarter of the L2 cache, if one register group does.
  int64_t cached_tiles() const {
    const int64_t bytes_per_tile = kFrequencies * blocks_ * Operands::kWords * 4;
    return kRows * std::clamp<int64_t>((int64_t{256} << 10) / bytes_per_tile / kRows, 1, 8);
  }

  int64_t equal_block(int64_t most) const {
    const int64_t count = ceil_div(tiles_.count(), most);
    return std::min(most, round_up(ceil_div(tiles_.count(), count), kRows));
  }

  // Whole register groups where there are many blocks; else as many tiles for every thread.
  void run_independent() {
    const int64_t tiles = tiles_.count(), most = cached_tiles(), threads = engine_.pool.threads();
    const bool few = ceil_div(tiles, most) < 8 * threads;
    const int64_t count = few ? round_up(ceil_div(tiles, most), threads) : ceil_div(tiles, most);
    const auto begin = [&](int64_t block) { return few ? tiles * block / count : std::min(tiles, block * most); };
    const Buffers buffers{most, blocks_};
    const int64_t scratch = buffers.inputs() + buffers.products();
    float* const arena = engine_.arena.take(scratch * engine_.pool.threads());
    engine_.pool.run(count, [&](int64_t block, int worker) {
      float* const inputs = arena + worker * scratch;
      const Range range{begin(block), 0, begin(block + 1) - begin(block)};
      for (int64_t c = 0; c < blocks_; ++c) read(buffers, inputs, c, range);
      for (int64_t panel = 0; panel < panel_count(s_.out); ++panel)
        finish_panel(buffers, inputs, inputs + buffers.inputs(), panel, range);
      stream_fence();
    });
  }

  void run_shared() {
    const Buffers buffers{std::min(tiles_.count(), equal_block(kMostShared)), blocks_};
    const int64_t panels = panel_count(s_.out), scratch = buffers.products() + expansion_floats();
    float* const inputs = engine_.arena.take(buffers.inputs() + scratch * engine_.pool.threads());
    for (int64_t first = 0; first < tiles_.count(); first += buffers.tiles) {
      const int64_t count = std::min(buffers.tiles, tiles_.count() - first);
      const int64_t parts = std::clamp<int64_t>(2 * engine_.pool.threads() / panels, 1, ceil_div(count, kRows));
      const auto range = [&](int64_t part) {
        return Range{first, count * part / parts, count * (part + 1) / parts};
      };
      engine_.pool.run(blocks_ * parts, [&](int64_t task, int) {
        read(buffers, inputs, task / parts, range(task % parts));
      });
      engine_.pool.run(panels * parts, [&](int64_t task, int worker) {
        finish_panel(buffers, inputs, inputs + buffers.inputs() + worker * scratch, task / parts,
                     range(task % parts));
        stream_fence();
      });
    }
  }

  // Step 1 for one block of channels.
  void read(const Buffers& buffers, float* inputs, int64_t block, const Range& range) const {
    const Groups groups(range.count());
    for (int64_t group = 0, row = range.begin; group < groups.count; row += groups.size(group++)) {
      const int size = groups.size(group);
      tiles_.read(block, range.first + row, range.first + row + size,
                  inputs + (row * blocks_ + block * size) * Operands::kWords, buffers.input_stride());
    }
  }

  // Steps 2 and 3 for one panel of outputs; products is followed by room for expanded filters.
  void finish_panel(const Buffers& buffers, const float* inputs, float* products, int64_t panel,
                    const Range& range) const {
    const int width = panel_width(panel, s_.out);
    const float* const filters = packed_ + filter_offset(panel, rows_, expanded_ ? kFrequencies : kTaps);
    const int64_t stride = frequency_stride(rows_, width);
    if (expanded_)
      for (int pair = 0; pair <= M / 2; ++pair)
        multiply(buffers, inputs, range, pair, 0, blocks_, filters + pair * kPairRows * stride, stride, width,
                 products);
    else
      expand_and_multiply(buffers, inputs, range, filters, width, products);
    for (int q = 0; q < width / kBlock; ++q)
      tiles_.write(panel * (kPanel / kBlock) + q, range.first + range.begin, range.first + range.end,
                   products + q * buffers.product_block(), buffers.product_stride());
  }

  void expand_and_multiply(const Buffers& buffers, const float* inputs, const Range& range, const float* taps,
                           int width, float* products) const {
    const int strip = std::min(kStrip, width);
    float* const expanded = products + buffers.products();
    for (int64_t block = 0; block < blocks_; block += kExpandedBlocks)
      for (int pair = 0; pair <= M / 2; ++pair) {
        const int64_t depth = std::min(kExpandedBlocks, blocks_ - block);
        const int64_t stride = frequency_stride(depth * kBlock, width);
        for (int k = 0; k < width; k += strip)
          expand_filters<M>(taps + (k * blocks_ + block * strip) * kBlock, frequency_stride(rows_, width),
                            depth * kBlock * strip, pair, expanded + k * depth * kBlock, stride);
        multiply(buffers, inputs, range, pair, block, depth, expanded, stride, width, products);
      }
  }

  // Products of the frequencies of one pair of rows over the channel blocks [block, block + depth), added to
  // what the blocks before them gave.
  void multiply(const Buffers& buffers, const float* inputs, const Range& range, int pair, int64_t block,
                int64_t depth, const float* filters, int64_t stride, int width, float* products) const {
    for (int i = 0; i < kPairRows; ++i, filters += stride) {
      const int64_t f = pair_frequency<M>(pair, i / A) * A + i % A;
      const float* const first = inputs + f * buffers.input_stride() + range.begin * blocks_ * Operands::kWords;
      const GroupedRows<Operands> rows{first, blocks_};
      rows_times_panel(rows, block, depth, filters, width, products + f * buffers.product_stride(),
                       buffers.product_block(), range.count(), block > 0);
    }
  }

  int64_t expansion_floats() const {
    if (expanded_) return 0;
    return kPairRows * frequency_stride(std::min(kExpandedBlocks, blocks_) * kBlock, kPanel);
  }

  Engine& engine_;
  const WinogradShape s_;
  const WinogradTiles<M, Operands> tiles_;
  const float* const packed_;
  const bool expanded_;
  const int64_t rows_, blocks_;  // of a panel's weights; of input channels
};

}  // namespace

void winograd(Engine& engine, const nst_conv& conv, int tile, bool backward, int form,
              const BlockedConvolution& args) {
#if NST_LANES == 16
  if (form == NST_BF16) return WinogradConvolution<4, Bf16>(engine, conv, backward, form, args).run();
#endif
  if (form == NST_BF16) throw std::runtime_error("these kernels have no bf16");
  if (tile == 2)
    WinogradConvolution<2, Fp32>(engine, conv, backward, form, args).run();
  else if (tile == 4)
    WinogradConvolution<4, Fp32>(engine, conv, backward, form, args).run();
  else
    WinogradConvolution<6, Fp32>(engine, conv, backward, form, args).run();
}

}  // namespace nst
