// CPU side of pillarize.cuh: blocks of points through SIMD, then added to their cells one by one.
#include "pillarize.cuh"

#include <algorithm>

#include "bindings.h"

namespace nb = nanobind;
using namespace fusion_rt;

namespace {

constexpr size_t kBlock = 256;  // points; all arrays of a block stay in the L1 cache
constexpr size_t kRun = 32;     // cells

struct Block {
  float x[kBlock], y[kBlock], z[kBlock], intensity[kBlock], dt[kBlock];
  int32_t cell[kBlock];
  uint32_t level_x[kBlock], level_y[kBlock], level_z[kBlock], level_i[kBlock];
};

FUSION_SIMD_CLONES void load(Block& block, const float* points, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    block.x[i] = points[5 * i];
    block.y[i] = points[5 * i + 1];
    block.z[i] = points[5 * i + 2];
    block.intensity[i] = points[5 * i + 3];
    block.dt[i] = points[5 * i + 4];
  }
}

FUSION_SIMD_CLONES void place_block(Block& block, const PillarParams& params) {
  const PillarParams p = params;
  for (size_t i = 0; i < kBlock; ++i) {
    const PlacedPoint placed =
        place(p, {block.x[i], block.y[i], block.z[i]}, block.intensity[i], block.dt[i]);
    block.cell[i] = placed.cell;
    block.level_x[i] = placed.x;
    block.level_y[i] = placed.y;
    block.level_z[i] = placed.z;
    block.level_i[i] = placed.intensity;
  }
}

// Points inside are listed first, without a branch that nobody could predict; their cells are
// fetched a few points ahead, because neighbours in a sweep are strangers in the grid.
size_t accumulate_block(const Block& block, size_t count, Cell* cells) {
  constexpr size_t kAhead = 8;
  uint32_t inside[kBlock + kAhead] = {};
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    inside[kept] = static_cast<uint32_t>(i);
    kept += block.cell[i] >= 0;
  }
  for (size_t k = 0; k < kept; ++k) {
    const int32_t ahead = block.cell[inside[k + kAhead]];
    __builtin_prefetch(cells + (ahead < 0 ? 0 : ahead), 1);
    const uint32_t i = inside[k];
    accumulate(cells, {block.cell[i], block.level_x[i], block.level_y[i], block.level_z[i],
                       block.level_i[i]});
  }
  return kept;
}

bool all_empty(const Cell* cells, size_t count) {
  uint32_t any = 0;
  // One of the two is non-zero for any height.
  for (size_t i = 0; i < count; ++i) any |= cells[i].highest | cells[i].lowest_flipped;
  return any == 0;
}

// Channels of a run of cells side by side, with a stride the compiler knows: no store can hide
// another.
FUSION_SIMD_CLONES void write_run(const Cell* cells, float* run) {
  for (size_t i = 0; i < kRun; ++i) write_channels(cells[i], run + i, kRun);
}

void finish(Cell* cells, size_t cell_count, float* raster) {
  Cell some[kRun] = {};
  float run[kRasterChannels * kRun];
  for (size_t at = 0; at < cell_count; at += kRun) {
    const size_t count = std::min(kRun, cell_count - at);
    if (all_empty(cells + at, count)) {
      std::fill_n(run, kRasterChannels * kRun, 0.0f);
    } else {
      std::copy_n(cells + at, count, some);
      std::fill_n(cells + at, count, Cell{});
      write_run(some, run);
    }
    for (int c = 0; c < kRasterChannels; ++c) {
      std::copy_n(run + c * kRun, count, raster + c * cell_count + at);
    }
  }
}

size_t pillarize(Floats<2> points, Bytes params_bytes, MutableBytes cell_bytes,
                 MutableFloats<3> raster) {
  const PillarParams params = struct_from_bytes<PillarParams>(params_bytes);
  const size_t cell_count = static_cast<size_t>(params.columns) * params.rows;
  require(points.shape(1) == 5 && points.shape(0) <= kMaxSweepPoints, "points");
  require(cell_bytes.size() == cell_count * sizeof(Cell), "cells");
  require(raster.size() == kRasterChannels * cell_count, "raster");
  nb::gil_scoped_release unlocked;
  Cell* cells = reinterpret_cast<Cell*>(cell_bytes.data());
  Block block{};
  size_t kept = 0;
  for (size_t at = 0; at < points.shape(0); at += kBlock) {
    const size_t count = std::min(kBlock, points.shape(0) - at);
    load(block, points.data() + 5 * at, count);
    place_block(block, params);
    kept += accumulate_block(block, count, cells);
  }
  finish(cells, cell_count, raster.data());
  return kept;
}

}  // namespace

void bind_pillarize(nb::module_& m) {
  m.def("pillarize", &pillarize, nb::arg("points"), nb::arg("params"), nb::arg("cells"),
        nb::arg("raster"));
}
