// Draws triangles into a depth buffer that knows which object, and which triangle, each pixel
// shows.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace fusion_rt::sim {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FUSION_RT_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define FUSION_RT_WIDE
#endif

struct Vec3 {
  float x, y, z;
};
inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(Vec3 a, float k) { return {a.x * k, a.y * k, a.z * k}; }
inline Vec3 operator*(Vec3 a, Vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
inline float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 cross(Vec3 a, Vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline Vec3 unit(Vec3 a) { return a * (1.0f / std::sqrt(std::max(dot(a, a), 1e-20f))); }

// target = rotation * source + shift
struct Transform {
  std::array<float, 9> rotation;
  Vec3 shift;

  Vec3 turn(Vec3 v) const {
    const auto& r = rotation;
    return {r[0] * v.x + r[1] * v.y + r[2] * v.z, r[3] * v.x + r[4] * v.y + r[5] * v.z,
            r[6] * v.x + r[7] * v.y + r[8] * v.z};
  }
  Vec3 turn_back(Vec3 v) const {
    const auto& r = rotation;
    return {r[0] * v.x + r[3] * v.y + r[6] * v.z, r[1] * v.x + r[4] * v.y + r[7] * v.z,
            r[2] * v.x + r[5] * v.y + r[8] * v.z};
  }
  Vec3 apply(Vec3 v) const { return turn(v) + shift; }
};

struct Lens {
  int width, height;
  float fx, fy, cx, cy;
};

constexpr float kNear = 0.1f;
constexpr uint32_t kNobody = 0xFFFFFFFF;  // sky or ground

// Pixel (0, 0) is the centre of the top left pixel.
class Raster {
 public:
  explicit Raster(const Lens& lens)
      : lens(lens), inverse_depth(size()), owner(size(), kNobody), shadow(size()), stamp_(size()) {}

  size_t size() const { return static_cast<size_t>(lens.width) * lens.height; }

  void clear() {
    std::fill(inverse_depth.begin(), inverse_depth.end(), 0.0f);
    std::fill(owner.begin(), owner.end(), kNobody);
    std::fill(shadow.begin(), shadow.end(), uint8_t{0});
    std::fill(stamp_.begin(), stamp_.end(), uint16_t{0xFFFF});
  }

  // Corners in the camera's frame, anticlockwise as seen from the side that shows.
  void draw(const std::array<Vec3, 3>& corners, uint32_t number) {
    for_each_visible(corners, true, [&](const Flat& flat) {
      for_each_row(flat, [&](size_t row, int from, int to, float depth, float step) {
        fill(&inverse_depth[row], &owner[row], from, to, depth, step, number);
      });
    });
  }

  // Counts the pixels a triangle covers, whatever stands before it, once per instance.
  void count(const std::array<Vec3, 3>& corners, uint16_t instance, int64_t& pixels) {
    for_each_visible(corners, true, [&](const Flat& flat) {
      for_each_row(flat, [&](size_t row, int from, int to, float, float) {
        for (int x = from; x <= to; ++x) {
          pixels += stamp_[row + x] != instance;
          stamp_[row + x] = instance;
        }
      });
    });
  }

  // Marks where a triangle that lies on the ground is, seen from either side.
  void darken(const std::array<Vec3, 3>& corners) {
    for_each_visible(corners, false, [&](const Flat& flat) {
      for_each_row(flat, [&](size_t row, int from, int to, float, float) {
        std::fill(&shadow[row + from], &shadow[row + to] + 1, uint8_t{1});
      });
    });
  }

  Lens lens;
  std::vector<float> inverse_depth;  // 1 / m along the optical axis; 0: nothing drawn
  std::vector<uint32_t> owner;       // instance << 16 | triangle
  std::vector<uint8_t> shadow;

 private:
  struct Corner {
    double x, y, inverse_z;
  };
  using Flat = std::array<Corner, 3>;

  Corner project(Vec3 p) const {
    const double inverse = 1.0 / p.z;
    return {lens.fx * p.x * inverse + lens.cx, lens.fy * p.y * inverse + lens.cy, inverse};
  }

  // Clips at the near plane and hands on the one or two triangles left that face the camera.
  template <typename Draw>
  void for_each_visible(const std::array<Vec3, 3>& corners, bool one_sided, Draw draw) const {
    Vec3 clipped[4];
    int count = 0;
    for (int i = 0; i < 3; ++i) {
      const Vec3 a = corners[i], b = corners[(i + 1) % 3];
      if (a.z >= kNear) clipped[count++] = a;
      if ((a.z >= kNear) != (b.z >= kNear))
        clipped[count++] = a + (b - a) * ((kNear - a.z) / (b.z - a.z));
    }
    for (int i = 2; i < count; ++i) {
      Flat flat{project(clipped[0]), project(clipped[i - 1]), project(clipped[i])};
      const double area = (flat[1].x - flat[0].x) * (flat[2].y - flat[0].y) -
                          (flat[2].x - flat[0].x) * (flat[1].y - flat[0].y);
      if (area == 0 || (area > 0 && one_sided)) continue;
      if (area > 0) std::swap(flat[1], flat[2]);
      draw(flat);
    }
  }

  // Calls visit(row's first pixel, first x, last x, inverse depth there, its step) for each row.
  template <typename Visit>
  void for_each_row(const Flat& t, Visit visit) const {
    const double low = std::min({t[0].y, t[1].y, t[2].y}),
                 high = std::max({t[0].y, t[1].y, t[2].y});
    const int first = std::max(0, static_cast<int>(std::ceil(std::max(low, -1.0))));
    const int last = static_cast<int>(std::floor(std::min(high, lens.height - 1.0)));
    const double area =
        (t[1].x - t[0].x) * (t[2].y - t[0].y) - (t[2].x - t[0].x) * (t[1].y - t[0].y);
    const double z1 = t[1].inverse_z - t[0].inverse_z, z2 = t[2].inverse_z - t[0].inverse_z;
    const double step_x = (z1 * (t[2].y - t[0].y) - z2 * (t[1].y - t[0].y)) / area;
    const double step_y = (z2 * (t[1].x - t[0].x) - z1 * (t[2].x - t[0].x)) / area;
    for (int y = first; y <= last; ++y) {
      double left = 0, right = lens.width - 1;
      for (int i = 0; i < 3; ++i) narrow(t[i], t[(i + 1) % 3], y, left, right);
      if (!(left <= right)) continue;
      const int from = static_cast<int>(std::ceil(left)), to = static_cast<int>(std::floor(right));
      if (from > to) continue;
      const double depth = t[0].inverse_z + step_x * (from - t[0].x) + step_y * (y - t[0].y);
      visit(static_cast<size_t>(y) * lens.width, from, to, static_cast<float>(depth),
            static_cast<float>(step_x));
    }
  }

  // Keeps the part of a row on the inner side of the edge a-b of a triangle of negative area.
  static void narrow(const Corner& a, const Corner& b, int y, double& left, double& right) {
    const double slope = b.y - a.y, run = b.x - a.x;
    if (slope == 0) {
      if (run * (y - a.y) > 0) right = -1;
      return;
    }
    const double x = a.x + run * ((y - a.y) / slope);
    if (slope > 0)
      left = std::max(left, x);
    else
      right = std::min(right, x);
  }

  FUSION_RT_WIDE static void fill(float* depths, uint32_t* owners, int from, int to, float depth,
                                  float step, uint32_t number) {
    for (int x = from; x <= to; ++x) {
      const float here = depth + step * static_cast<float>(x - from);
      const bool nearer = here > depths[x];
      depths[x] = nearer ? here : depths[x];
      owners[x] = nearer ? number : owners[x];
    }
  }

  std::vector<uint16_t> stamp_;
};

}  // namespace fusion_rt::sim
