// From what each pixel shows to the light that comes from there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "scene.h"

namespace fusion_rt::sim {

inline uint32_t hash32(uint32_t x) {  // finalizer of MurmurHash3
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ (x >> 16);
}
inline uint32_t hash32(int a, int b) {
  return hash32(static_cast<uint32_t>(a) * 0x9E3779B9u ^ hash32(static_cast<uint32_t>(b)));
}
inline float share(uint32_t hash) { return static_cast<float>(hash >> 8) * (1.0f / 16777216.0f); }

inline Vec3 mix(Vec3 a, Vec3 b, float k) { return a * (1 - k) + b * k; }
inline float clamp01(float x) { return std::min(std::max(x, 0.0f), 1.0f); }

// exp(-x) for x >= 0, within 0.004: (1 + x / 64) ^ -64.
inline float faded(float x) {
  float y = 1 / (1 + x * (1.0f / 64));
  for (int i = 0; i < 6; ++i) y *= y;
  return y;
}

// A tile of smooth noise in 0..1 with mean 0.5, repeated for ever.
class NoiseTile {
 public:
  NoiseTile() : values_(kSide * kSide) {
    std::vector<float> raw(values_.size());
    for (size_t i = 0; i < raw.size(); ++i) raw[i] = share(hash32(static_cast<uint32_t>(i)));
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x) {
        float sum = 0;
        for (int dy = 0; dy < 2; ++dy)
          for (int dx = 0; dx < 2; ++dx) sum += raw[((y + dy) % kSide) * kSide + (x + dx) % kSide];
        values_[y * kSide + x] = sum / 4;
      }
  }
  float at(float x, float y) const {
    const int i = static_cast<int>(floored(x)) & (kSide - 1);
    const int j = static_cast<int>(floored(y)) & (kSide - 1);
    return values_[j * kSide + i];
  }
  float smooth(float x, float y) const {
    const float x0 = floored(x), y0 = floored(y), fx = x - x0, fy = y - y0;
    const float top = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx;
    const float bottom = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx;
    return top * (1 - fy) + bottom * fy;
  }

 private:
  static constexpr int kSide = 256;
  std::vector<float> values_;
};

class Shader {
 public:
  Shader(const Scene& scene, const std::vector<Vec3>& ground_colours)
      : scene_(scene),
        ground_(ground_colours),
        eye_(scene.position()),
        is_even_(scene.lamps <= 0 && scene.head_lamp_power <= 0 && scene.tunnels.empty()),
        lit_ground_(daylight({0, 0, 1}, 1)),
        shadowed_ground_(daylight({0, 0, 1}, 1 - scene.shadow)) {}

  // One side of one object: what all its pixels share.
  struct Face {
    Vec3 normal, colour, light;
    Texture texture;
    bool has_beacon_lit;
  };

  Face face(const Instance& instance, int triangle) const {
    const Mesh& mesh = *instance.mesh;
    const auto texture = static_cast<Texture>(mesh.textures[triangle]);
    const bool is_own = texture == kPaint || texture == kCloth;
    const Vec3 normal = instance.city_from_object.turn(mesh.normals[triangle]);
    return {normal, is_own ? instance.colour : mesh.colours[triangle],
            daylight(normal, instance.is_sunlit ? 1.0f : 1 - scene_.shadow), texture,
            instance.has_beacon_lit};
  }

  Vec3 sky(Vec3 way) const {
    const float up = std::max(way.z, 0.0f);
    Vec3 light = mix(scene_.horizon, scene_.zenith, std::sqrt(up));
    if (scene_.cloud > 0 && up > 0.02f) {
      const float k = 12.0f / (up + 0.15f);
      const float thick = 0.65f * noise().smooth(way.x * k, way.y * k) +
                          0.35f * noise().smooth(way.x * k * 2.7f, way.y * k * 2.7f);
      const float cover = clamp01((thick - 0.75f + 0.5f * scene_.cloud) * 5.0f);
      light = mix(light, (scene_.zenith + scene_.horizon) * 0.62f, cover * std::min(1.0f, up * 6));
    }
    const float near_sun = dot(way, scene_.to_sun);
    if (near_sun > 0.9f && scene_.cloud < 0.95f) {
      const float off = 1 - near_sun;
      const float halo = faded(off * 700) * 3 + faded(off * 60) * 0.5f;
      light = light + scene_.sun * (halo * (1 - scene_.cloud));
      if (near_sun > 0.99998f) light = light + scene_.sun * 50.0f;
    }
    return light;
  }

  Vec3 ground(Vec3 at, float distance, float row_m, bool in_shadow) const {
    Vec3 colour{0, 0, 0};
    const int samples = std::clamp(static_cast<int>(row_m / 0.2f), 1, 4);
    const Vec3 way = at - eye_;
    const float step = row_m / (distance * samples), first = (1 - samples) * 0.5f * step;
    for (int i = 0; i < samples; ++i) {  // spread over the depth that the pixel's row covers
      const float k = first + i * step;
      const int kind = static_cast<int>(ground_at(at.x + way.x * k, at.y + way.y * k, scene_.plan));
      colour = colour + ground_[kind];
    }
    const float grain =
        0.30f * noise().at(at.x * 14, at.y * 14) + 0.5f * noise().smooth(at.x * 0.7f, at.y * 0.7f);
    colour = colour * ((0.6f + grain) / samples);
    Vec3 light = colour * lit(at, {0, 0, 1}, in_shadow ? shadowed_ground_ : lit_ground_);
    if (scene_.wetness > 0) {
      const Vec3 mirrored = unit({way.x, way.y, -way.z});
      const float fresnel = 0.02f + 0.6f * std::pow(1 - mirrored.z, 5.0f);
      light = mix(light * (1 - 0.4f * scene_.wetness), sky(mirrored), fresnel * scene_.wetness);
    }
    return light;
  }

  Vec3 surface(const Face& face, Vec3 at, Vec3 seen) const {
    const Vec3 light = lit(at, face.normal, face.light), own = face.colour;
    switch (face.texture) {
      case kPaint:
        return glossy(own, light, face.normal, seen, 0.04f);
      case kCloth:
        return own * light;
      case kGlass:
        return glossy(own, light, face.normal, seen, 0.08f);
      case kFacade:
        return facade(own, light, at, face.normal);
      case kFoliage:
        return own * light * (0.4f + 1.2f * noise().at((at.x + at.z) * 6, (at.y - at.z) * 6));
      case kHeadLamp:
        return own * light + Vec3{1, 0.95f, 0.85f} * (scene_.lamps > 0 ? 0.8f : 0.0f);
      case kTailLamp:
        return own * light + Vec3{0.5f, 0.01f, 0.01f} * (scene_.lamps > 0 ? 0.6f : 0.1f);
      case kStreetLamp:
        return own * light + Vec3{1, 0.85f, 0.6f} * (scene_.lamps * 0.4f);
      case kBeacon:
        return own * light + Vec3{0.05f, 0.15f, 1.5f} * (face.has_beacon_lit ? 1.0f : 0.0f);
      default:
        return own * light * (0.8f + 0.4f * noise().at((at.x + at.y) * 9, at.z * 9));
    }
  }

  Vec3 through_air(Vec3 light, float distance) const {
    if (scene_.fog_per_m <= 0) return light;
    return mix(scene_.fog, light, faded(scene_.fog_per_m * distance));
  }

 private:
  static const NoiseTile& noise() {
    static const NoiseTile tile;
    return tile;
  }

  bool in_tunnel(Vec3 at) const {
    for (const auto& t : scene_.tunnels)
      if (at.x > t[0] && at.x < t[1] && at.y > t[2] && at.y < t[3] && at.z < 5.3f) return true;
    return false;
  }

  // Of sky and sun, where nothing else matters.
  Vec3 daylight(Vec3 normal, float sun_share) const {
    const float up = 0.5f + 0.5f * normal.z;
    return scene_.zenith * (0.35f + 0.65f * up) +
           scene_.horizon * (0.25f * (1 - normal.z * normal.z)) +
           scene_.sun * (std::max(0.0f, dot(normal, scene_.to_sun)) * sun_share);
  }

  // All the light a place gets; `day` is the daylight on its side.
  Vec3 lit(Vec3 at, Vec3 normal, Vec3 day) const {
    if (is_even_) return day;
    Vec3 light = day;
    if (!scene_.tunnels.empty() && in_tunnel(at))
      light = Vec3{0.10f, 0.085f, 0.06f} * (0.8f + 0.2f * normal.z);
    else if (scene_.lamps > 0)
      light = light + Vec3{1, 0.78f, 0.5f} * (lamp_light(at, normal) * scene_.lamps);
    if (scene_.head_lamp_power > 0) light = light + Vec3{1, 0.97f, 0.9f} * head_light(at, normal);
    return light;
  }

  float head_light(Vec3 at, Vec3 normal) const {
    const Vec3 way = at - scene_.head_lamp;
    const float squared = std::max(dot(way, way), 1.0f), inverse = 1 / std::sqrt(squared);
    const float ahead = dot(way, scene_.head_lamp_way) * inverse;
    const float rise = way.z * inverse;  // the beam is cut off above the horizon
    if (ahead < 0.8f) return 0;
    const float beam = std::pow(ahead, 24.0f) * clamp01(1 - (rise + 0.005f) * 25.0f);
    const float facing = std::max(0.15f, -dot(normal, way) * inverse);
    return scene_.head_lamp_power * beam * facing / squared;
  }

  // Street lamps stand in a lattice that repeats with every block (fusion_rt/sim/city.py).
  float lamp_light(Vec3 at, Vec3 normal) const {
    const float dx = offset_from_street(at.x, scene_.plan),
                dy = offset_from_street(at.y, scene_.plan);
    float sum = 0;
    if (std::fabs(dy) < 14) sum += lamps_along(at.x, dx, dy, at.z, {1, 0}, normal, 1);
    if (std::fabs(dx) < 14) sum += lamps_along(at.y, dy, dx, at.z, {0, 1}, normal, -1);
    return sum;
  }

  float lamps_along(float along, float from_node, float across, float z, std::array<float, 2> axis,
                    Vec3 normal, int first_side) const {
    const float pitch = scene_.plan.block_m / static_cast<float>(scene_.lamps_per_block);
    float sum = 0;
    for (int side = -1; side <= 1; side += 2) {
      const float phase = (side == first_side ? 0.25f : 0.75f) * pitch;
      const float lamp = phase + pitch * nearest_whole((along - phase) / pitch);
      if (std::fabs(from_node + lamp - along) < 11.75f) continue;  // none stands at a crossing
      const float a = lamp - along, b = side * 7.15f - across, up = 6.4f - z;
      if (up <= 0) continue;
      const float squared = a * a + b * b + up * up, inverse = 1 / std::sqrt(squared);
      const Vec3 way = axis[0] > 0 ? Vec3{a, b, up} : Vec3{b, a, up};
      sum += std::max(0.0f, dot(normal, way) * inverse) * up * inverse * 8 / squared;
    }
    return sum;
  }

  Vec3 glossy(Vec3 colour, Vec3 light, Vec3 normal, Vec3 seen, float least) const {
    const float facing = std::max(0.0f, -dot(normal, seen));
    const float once = 1 - facing, twice = once * once;
    const float fresnel = least + (1 - least) * 0.6f * twice * twice * once;
    const Vec3 mirrored = seen + normal * (2 * facing);
    const Vec3 around =
        mirrored.z > 0.1f ? sky(mirrored) : (scene_.horizon + scene_.zenith) * 0.12f;
    return colour * light + around * fresnel;
  }

  Vec3 facade(Vec3 colour, Vec3 light, Vec3 at, Vec3 normal) const {
    const float along = (std::fabs(normal.x) > 0.5f ? at.y : at.x) / 3.1f, up = at.z / 3.2f;
    const float u = along - floored(along), v = up - floored(up);
    const bool is_window = u > 0.26f && u < 0.74f && v > 0.30f && v < 0.80f;
    if (!is_window) return colour * light * (0.85f + 0.3f * noise().at(along * 20, up * 40));
    const uint32_t pane =
        hash32(static_cast<int>(floored(along)) + (std::fabs(normal.x) > 0.5f ? 4096 : 0),
               static_cast<int>(floored(up)));
    const Vec3 glass =
        scene_.horizon * (0.10f + 0.15f * share(pane)) + Vec3{0.01f, 0.01f, 0.012f} * light;
    if (scene_.lamps <= 0 || share(pane) > 0.3f) return glass;
    return glass + Vec3{1, 0.75f, 0.4f} * (0.04f + 0.10f * share(hash32(pane)));
  }

  const Scene& scene_;
  const std::vector<Vec3>& ground_;
  const Vec3 eye_;
  const bool is_even_;  // daylight is all the light there is
  const Vec3 lit_ground_, shadowed_ground_;
};

}  // namespace fusion_rt::sim
