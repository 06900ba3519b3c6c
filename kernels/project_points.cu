// GPU side of project_points.cuh: a thread per point.
#include "project_points.cuh"

extern "C" __global__ void project_points(const float* points, float* pixels,
                                          unsigned long long count, unsigned int stride,
                                          fusion_rt::ProjectParams params) {
  const size_t index = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const float* point = points + index * stride;
  const fusion_rt::Projected at = fusion_rt::project(params, point[0], point[1], point[2]);
  pixels[3 * index] = at.u;
  pixels[3 * index + 1] = at.v;
  pixels[3 * index + 2] = at.depth;
}
