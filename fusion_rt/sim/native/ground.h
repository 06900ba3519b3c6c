// What is painted on the ground: the plan of fusion_rt/sim/streets.py, for camera and LiDAR alike.
#pragma once

#include <algorithm>
#include <cmath>

namespace fusion_rt::sim {

// In the order of the last rows of fusion_rt/sim/materials.py.
enum class Ground { kAsphalt, kMarking, kPavement, kCycleTrack, kSoil };

struct StreetPlan {
  float block_m = 100;
  int nodes = 4;
};

// std::floor and std::nearbyint are calls into the C library unless SSE4.1 may be assumed.
inline float floored(float x) {
  const float whole = static_cast<float>(static_cast<int>(x));
  return whole - (whole > x ? 1.0f : 0.0f);
}
inline float nearest_whole(float x) { return floored(x + 0.5f); }

constexpr float kKerb = 6.0f, kTrack = 7.4f, kFront = 10.2f, kLane = 3.8f;

// From the middle of the nearest street that crosses this axis; the outer ones go on as stubs.
inline float offset_from_street(float at, const StreetPlan& plan) {
  const float last = static_cast<float>(plan.nodes - 1);
  const float nearest = std::min(std::max(nearest_whole(at / plan.block_m), 0.0f), last);
  return at - nearest * plan.block_m;
}

inline bool stripe(float at, float period, float width) {
  return at - period * floored(at / period) < width;
}

// `across` is the offset to the right of a heading, `before` the way to the crossing's middle:
// negative behind it. Both for whoever drives along this street towards the nearest crossing.
inline bool is_marked(float across, float before, float along, const StreetPlan& plan) {
  const float from_node = std::fabs(before), from_middle = std::fabs(across);
  if (from_node > 8.0f && from_node < 10.8f) return stripe(across, 1.0f, 0.5f);
  if (from_node > 12.6f && from_node < 13.0f) return across * before > 0 && from_middle < kLane;
  if (from_node < 13.0f) return false;
  if (std::fabs(from_node - plan.block_m / 2) < 1.5f) return stripe(across, 1.0f, 0.5f);
  if (from_middle < 0.08f) return stripe(along, 6.0f, 3.0f);
  return std::fabs(from_middle - kLane) < 0.06f;
}

inline Ground ground_at(float x, float y, const StreetPlan& plan) {
  const float dx = offset_from_street(x, plan), dy = offset_from_street(y, plan);
  const float ax = std::fabs(dx), ay = std::fabs(dy);
  const float nearest = std::min(ax, ay);
  if (nearest < kKerb) {
    bool marked = false;
    if (ay >= kKerb) marked = is_marked(dx, -dy, y, plan);   // a street along y
    if (ax >= kKerb) marked = is_marked(-dy, -dx, x, plan);  // a street along x
    return marked ? Ground::kMarking : Ground::kAsphalt;
  }
  if (nearest < kKerb + 0.15f) return Ground::kPavement;
  if (nearest < kTrack) return Ground::kCycleTrack;
  return nearest < kFront ? Ground::kPavement : Ground::kSoil;
}

}  // namespace fusion_rt::sim
