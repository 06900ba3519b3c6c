// LiDAR sweep to bird's-eye raster: range filter, transform to base, de-skew, sums per cell.
//
// Sums are kept in fixed point (kLevels steps), so they do not depend on the order in which points
// arrive: threads of a GPU and the loop of a CPU give the same raster.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.cuh"

namespace fusion_rt {

constexpr int kHeightBins = 8;
constexpr int kRasterChannels = kHeightBins + 8;
constexpr uint32_t kLevels = 4096;
// kMaxSweepPoints * kLevels fits 32 bits: no sum overflows, even with all points in one cell.
constexpr size_t kMaxSweepPoints = (1u << 20) - 1;

// Layout shared with PILLAR_PARAMS in fusion_rt/preprocess/pillarize.py.
struct PillarParams {
  float base_from_lidar[12];  // rows of [R | t]
  float linear_mps[3];        // twist of base at the stamp, in base
  float angular_radps[3];
  float x_min, y_min, z_min;  // metres, in base
  float cells_per_m;
  float inverse_height;  // 1 / (z_max - z_min)
  float intensity_scale;
  float min_range_squared, max_range_squared;  // from the LiDAR
  int32_t columns, rows;                       // cells along x, along y
};

// One cache line: the fields below add up to what one point touches.
struct alignas(64) Cell {
  uint32_t bins[kHeightBins];
  uint64_t sum_xy;  // two 32-bit sums: one 64-bit addition adds both
  uint64_t sum_zi;
  uint32_t highest;         // max of level(z)
  uint32_t lowest_flipped;  // max of kLevels - 1 - level(z), so that zero means "none yet"
  uint32_t unused[2];
};

struct PlacedPoint {
  int32_t cell;                 // negative: outside
  uint32_t x, y, z, intensity;  // levels within the cell, the height range, [0, 1]
};

struct Vector {
  float x, y, z;
};

FUSION_HOST_DEVICE inline Vector cross(Vector a, Vector b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

FUSION_HOST_DEVICE inline Vector to_base(const PillarParams& p, Vector v) {
  const float* m = p.base_from_lidar;
  return {m[0] * v.x + m[1] * v.y + m[2] * v.z + m[3], m[4] * v.x + m[5] * v.y + m[6] * v.z + m[7],
          m[8] * v.x + m[9] * v.y + m[10] * v.z + m[11]};
}

// Moves a point seen `dt` seconds after the stamp to where base at the stamp sees it: the
// exponential of the constant twist, as series good to 3e-6 for turns up to 1 rad. `turn` returns
// radians squared.
FUSION_HOST_DEVICE inline Vector deskew(const PillarParams& p, Vector v, float dt, float* turn) {
  const Vector w = {p.angular_radps[0] * dt, p.angular_radps[1] * dt, p.angular_radps[2] * dt};
  const Vector u = {p.linear_mps[0] * dt, p.linear_mps[1] * dt, p.linear_mps[2] * dt};
  const float t = w.x * w.x + w.y * w.y + w.z * w.z;
  *turn = t;
  const float a = 1.0f - t * (1.0f / 6 - t * (1.0f / 120 - t * (1.0f / 5040)));
  const float b = 0.5f - t * (1.0f / 24 - t * (1.0f / 720 - t * (1.0f / 40320)));
  const float c = 1.0f / 6 - t * (1.0f / 120 - t * (1.0f / 5040));
  const Vector wv = cross(w, v), wwv = cross(w, wv), wu = cross(w, u), wwu = cross(w, wu);
  return {v.x + a * wv.x + b * wwv.x + u.x + b * wu.x + c * wwu.x,
          v.y + a * wv.y + b * wwv.y + u.y + b * wu.y + c * wwu.y,
          v.z + a * wv.z + b * wwv.z + u.z + b * wu.z + c * wwu.z};
}

FUSION_HOST_DEVICE inline uint32_t level(float fraction) {
  const int32_t scaled = static_cast<int32_t>(fraction * static_cast<float>(kLevels));
  return static_cast<uint32_t>(scaled < static_cast<int32_t>(kLevels) ? scaled : kLevels - 1);
}

// Comparisons are joined with & and written so that NaN fails them: one straight line of SIMD.
FUSION_HOST_DEVICE inline PlacedPoint place(const PillarParams& p, Vector lidar, float intensity,
                                            float dt) {
  const float range = lidar.x * lidar.x + lidar.y * lidar.y + lidar.z * lidar.z;
  float turn;
  const Vector at = deskew(p, to_base(p, lidar), dt, &turn);
  const float column = (at.x - p.x_min) * p.cells_per_m;
  const float row = (at.y - p.y_min) * p.cells_per_m;
  const float height = (at.z - p.z_min) * p.inverse_height;
  const float columns = static_cast<float>(p.columns), rows = static_cast<float>(p.rows);
  const bool inside = (range >= p.min_range_squared) & (range <= p.max_range_squared) &
                      (turn <= 1.0f) & (column >= 0.0f) & (column < columns) & (row >= 0.0f) &
                      (row < rows) & (height >= 0.0f) & (height < 1.0f);
  const float safe_column = inside ? column : 0.0f;  // NaN to int is undefined
  const float safe_row = inside ? row : 0.0f;
  const float safe_height = inside ? height : 0.0f;
  const float scaled = intensity * p.intensity_scale;
  const float bright = scaled > 0.0f ? (scaled < 1.0f ? scaled : 1.0f) : 0.0f;
  const int32_t ix = static_cast<int32_t>(safe_column), iy = static_cast<int32_t>(safe_row);
  PlacedPoint placed;
  placed.cell = inside ? iy * p.columns + ix : -1;
  placed.x = level(safe_column - static_cast<float>(ix));
  placed.y = level(safe_row - static_cast<float>(iy));
  placed.z = level(safe_height);
  placed.intensity = level(bright);
  return placed;
}

FUSION_HOST_DEVICE inline void add(uint32_t* sum, uint32_t value) {
#ifdef __CUDA_ARCH__
  atomicAdd(sum, value);
#else
  *sum += value;
#endif
}

FUSION_HOST_DEVICE inline void add(uint64_t* sum, uint64_t value) {
#ifdef __CUDA_ARCH__
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
#else
  *sum += value;
#endif
}

FUSION_HOST_DEVICE inline void raise_to(uint32_t* highest, uint32_t value) {
#ifdef __CUDA_ARCH__
  // Most points of a full cell raise nothing: a stale read costs an atomic, never a wrong maximum.
  if (*reinterpret_cast<volatile uint32_t*>(highest) < value) atomicMax(highest, value);
#else
  *highest = *highest < value ? value : *highest;
#endif
}

FUSION_HOST_DEVICE inline uint64_t both(uint32_t low, uint32_t high) {
  return static_cast<uint64_t>(low) | static_cast<uint64_t>(high) << 32;
}

FUSION_HOST_DEVICE inline void accumulate(Cell* cells, const PlacedPoint& point) {
  Cell& cell = cells[point.cell];
  add(&cell.bins[point.z / (kLevels / kHeightBins)], 1u);
  add(&cell.sum_xy, both(point.x, point.y));
  add(&cell.sum_zi, both(point.z, point.intensity));
  raise_to(&cell.highest, point.z);
  raise_to(&cell.lowest_flipped, kLevels - 1 - point.z);
}

FUSION_HOST_DEVICE inline float log_count(uint32_t count) {
  return natural_log(static_cast<float>(count + 1));
}

// The channels of one cell, written `stride` floats apart: kHeightBins log counts, highest, mean
// height, mean intensity, log count, occupied, mean x and y in the cell (-0.5 .. 0.5), height span.
FUSION_HOST_DEVICE inline void write_channels(const Cell& cell, float* out, size_t stride) {
  uint32_t count = 0;
  for (int bin = 0; bin < kHeightBins; ++bin) {
    out[bin * stride] = log_count(cell.bins[bin]);
    count += cell.bins[bin];
  }
  const float per_level = 1.0f / kLevels;
  const float occupied = count > 0 ? 1.0f : 0.0f;
  const float mean = per_level / static_cast<float>(count > 0 ? count : 1);
  const float half = 0.5f * occupied;
  float* rest = out + kHeightBins * stride;
  const uint32_t x = static_cast<uint32_t>(cell.sum_xy),
                 y = static_cast<uint32_t>(cell.sum_xy >> 32);
  const uint32_t z = static_cast<uint32_t>(cell.sum_zi),
                 i = static_cast<uint32_t>(cell.sum_zi >> 32);
  rest[0 * stride] = static_cast<float>(cell.highest) * per_level;
  rest[1 * stride] = static_cast<float>(z) * mean;
  rest[2 * stride] = static_cast<float>(i) * mean;
  rest[3 * stride] = log_count(count);
  rest[4 * stride] = occupied;
  rest[5 * stride] = static_cast<float>(x) * mean - half;
  rest[6 * stride] = static_cast<float>(y) * mean - half;
  const float span = static_cast<float>(cell.highest + cell.lowest_flipped) - (kLevels - 1);
  rest[7 * stride] = span * per_level * occupied;
}

}  // namespace fusion_rt
