// Points to pixels: rigid transform, lens distortion (Brown-Conrady, OpenCV's k1 k2 p1 p2 k3),
// pinhole.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.cuh"

namespace fusion_rt {

// Layout shared with PROJECT_PARAMS in fusion_rt/preprocess/project_points.py.
struct ProjectParams {
  float camera_from_points[12];  // rows of [R | t]
  float fx, fy, cx, cy;
  float k1, k2, p1, p2, k3;
  float max_radius_squared;  // beyond it the distortion polynomial folds back: not in the picture
  float near_m;
  float width, height;
};

struct Projected {
  float u, v, depth;  // pixels (NaN: not in the picture), metres along the optical axis
};

FUSION_HOST_DEVICE inline Projected project(const ProjectParams& p, float px, float py, float pz) {
  const float* m = p.camera_from_points;
  const float x = m[0] * px + m[1] * py + m[2] * pz + m[3];
  const float y = m[4] * px + m[5] * py + m[6] * pz + m[7];
  const float z = m[8] * px + m[9] * py + m[10] * pz + m[11];
  const bool ahead = z >= p.near_m;
  const float inverse = 1.0f / (ahead ? z : 1.0f);
  const float a = x * inverse, b = y * inverse;
  const float r = a * a + b * b;
  const float radial = 1.0f + r * (p.k1 + r * (p.k2 + r * p.k3));
  const float u = p.fx * (a * radial + 2.0f * p.p1 * a * b + p.p2 * (r + 2.0f * a * a)) + p.cx;
  const float v = p.fy * (b * radial + p.p1 * (r + 2.0f * b * b) + 2.0f * p.p2 * a * b) + p.cy;
  // Pixel centres are whole numbers, so the picture spans -0.5 .. size - 0.5.
  const bool seen = ahead & (r <= p.max_radius_squared) & (u >= -0.5f) & (u < p.width - 0.5f) &
                    (v >= -0.5f) & (v < p.height - 0.5f);
  const uint32_t nan_bits = 0x7fc00000u;
  float nan;
  memcpy(&nan, &nan_bits, sizeof(nan));
  return {seen ? u : nan, seen ? v : nan, z};
}

}  // namespace fusion_rt
