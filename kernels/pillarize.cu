// GPU side of pillarize.cuh: a thread per point, then a thread per cell.
#include "pillarize.cuh"

// Parameters and count are read from memory: a captured graph follows a new motion and a new sweep.
// Launch with a thread for every point that may come.
extern "C" __global__ void pillarize_points(const float* points, fusion_rt::Cell* cells,
                                            const fusion_rt::PillarParams* params,
                                            const unsigned int* count) {
  const size_t index = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= *count) return;
  const float* point = points + 5 * index;
  const fusion_rt::PlacedPoint placed =
      fusion_rt::place(*params, {point[0], point[1], point[2]}, point[3], point[4]);
  if (placed.cell >= 0) fusion_rt::accumulate(cells, placed);
}

// Leaves the cells empty for the next sweep, so that a replayed graph needs no extra clearing.
extern "C" __global__ void pillarize_cells(fusion_rt::Cell* cells, float* raster,
                                           unsigned int cell_count) {
  const unsigned int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= cell_count) return;
  fusion_rt::write_channels(cells[index], raster + index, cell_count);
  cells[index] = fusion_rt::Cell{};
}
