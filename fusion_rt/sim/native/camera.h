// The camera of the simulator: draws a scene, shades it, develops the picture.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "develop.h"
#include "raster.h"
#include "scene.h"
#include "shade.h"

namespace fusion_rt::sim {

struct Visibility {
  std::vector<int64_t> shown, alone;  // pixels per instance: seen, and if nothing stood before it
};

class Camera {
  static constexpr float kSky = 1e4f;  // m; as far as anything is

 public:
  Camera(const Lens& lens, std::vector<Vec3> ground_colours)
      : raster_(lens),
        ground_colours_(std::move(ground_colours)),
        light_(raster_.size()),
        blurred_(raster_.size()),
        shifts_(raster_.size()),
        codes_(raster_.size()),
        stretch_(raster_.size()) {
    for (int y = 0; y < lens.height; ++y)
      for (int x = 0; x < lens.width; ++x) {
        const float u = (x - lens.cx) / lens.fx, v = (y - lens.cy) / lens.fy;
        stretch_[static_cast<size_t>(y) * lens.width + x] = std::sqrt(1 + u * u + v * v);
      }
  }
  Camera(const Camera&) = delete;
  Camera& operator=(const Camera&) = delete;

  int add_mesh(Mesh mesh) {
    for (const auto& t : mesh.triangles)
      mesh.normals.push_back(unit(cross(mesh.vertices[t[1]] - mesh.vertices[t[0]],
                                        mesh.vertices[t[2]] - mesh.vertices[t[0]])));
    meshes_.push_back(std::make_unique<Mesh>(std::move(mesh)));
    return static_cast<int>(meshes_.size()) - 1;
  }
  const Mesh* mesh(int number) const { return meshes_.at(number).get(); }

  // Which object each pixel shows, without light: enough for ground truth.
  Visibility draw(const Scene& scene, const std::vector<Instance>& instances) {
    Visibility seen{std::vector<int64_t>(instances.size()), std::vector<int64_t>(instances.size())};
    raster_.clear();
    std::vector<Vec3> corners;
    for (size_t i = 0; i < instances.size(); ++i) {
      const Instance& instance = instances[i];
      const Mesh& mesh = *instance.mesh;
      corners.resize(mesh.vertices.size());
      for (size_t v = 0; v < corners.size(); ++v)
        corners[v] =
            scene.camera_from_city.apply(instance.city_from_object.apply(mesh.vertices[v]));
      for (size_t t = 0; t < mesh.triangles.size(); ++t) {
        const auto& c = mesh.triangles[t];
        const std::array<Vec3, 3> triangle{corners[c[0]], corners[c[1]], corners[c[2]]};
        raster_.draw(triangle, static_cast<uint32_t>(i << 16 | t));
        if (instance.is_counted) raster_.count(triangle, static_cast<uint16_t>(i), seen.alone[i]);
      }
    }
    for (const uint32_t owner : raster_.owner)
      if (owner != kNobody) ++seen.shown[owner >> 16];
    return seen;
  }

  void light(const Scene& scene, const std::vector<Instance>& instances,
             const std::vector<Glow>& glows, float rain) {
    if (scene.shadow > 0) cast_shadows(scene, instances);
    shade(scene, instances);
    for (const Glow& glow : glows) add(scene, glow);
    if (rain > 0) let_rain(scene, rain);
    blur(light_, shifts_, raster_.lens.width, raster_.lens.height, blurred_);
    encode(blurred_.data(), codes_.data(), codes_.size(), scene.gain);
  }

  const std::vector<Pixel16>& codes() const { return codes_; }
  const Raster& raster() const { return raster_; }

 private:
  void cast_shadows(const Scene& scene, const std::vector<Instance>& instances) {
    const Vec3 sun = scene.to_sun;
    if (sun.z < 0.03f) return;
    std::vector<Vec3> corners;
    for (const Instance& instance : instances) {
      if (!instance.casts_shadow) continue;
      const Mesh& mesh = *instance.mesh;
      corners.resize(mesh.vertices.size());
      for (size_t v = 0; v < corners.size(); ++v) {
        const Vec3 p = instance.city_from_object.apply(mesh.vertices[v]);
        const float k = std::max(p.z, 0.0f) / sun.z;
        corners[v] = scene.camera_from_city.apply({p.x - sun.x * k, p.y - sun.y * k, 0});
      }
      for (size_t t = 0; t < mesh.triangles.size(); ++t) {
        const Vec3 normal = instance.city_from_object.turn(mesh.normals[t]);
        if (dot(normal, sun) <= 0) continue;  // the lit half of a closed solid casts it all
        const auto& c = mesh.triangles[t];
        raster_.darken({corners[c[0]], corners[c[1]], corners[c[2]]});
      }
    }
  }

  void shade(const Scene& scene, const std::vector<Instance>& instances) {
    const Lens& lens = raster_.lens;
    const Shader shader(scene, ground_colours_);
    const Vec3 eye = scene.position();
    const Vec3 right = scene.camera_from_city.turn_back({1 / lens.fx, 0, 0});
    const Drift drift = drift_of(scene);
    Shader::Face face{};
    uint32_t last = kNobody;  // neighbours mostly lie on the same face
    for (int y = 0; y < lens.height; ++y) {
      const float v = (y - lens.cy) / lens.fy;
      const Vec3 middle = scene.camera_from_city.turn_back({0, v, 1});
      for (int x = 0; x < lens.width; ++x) {
        const size_t at = static_cast<size_t>(y) * lens.width + x;
        const Vec3 way = middle + right * (x - lens.cx);
        const float stretch = stretch_[at];
        const Vec3 seen = way * (1 / stretch);
        const uint32_t owner = raster_.owner[at];
        Vec3 light, moved = drift.shift;
        float depth = kSky;
        if (owner != kNobody) {
          const Instance& instance = instances[owner >> 16];
          depth = 1 / raster_.inverse_depth[at];
          const Vec3 place = eye + way * depth;
          if (owner != last) face = shader.face(instance, owner & 0xFFFF);
          last = owner;
          light = shader.surface(face, place, seen);
          if (instance.is_moving()) {
            const Vec3 arm = place - instance.city_from_object.shift;
            const Vec3 velocity = instance.velocity + Vec3{-arm.y, arm.x, 0} * instance.yaw_rate;
            moved = moved + scene.camera_from_city.turn(velocity);
          }
        } else if (way.z < -eye.z / kSky) {
          depth = -eye.z / way.z;
          const float row = stretch * depth * depth / (lens.fy * eye.z);
          light = shader.ground(eye + way * depth, stretch * depth, row, raster_.shadow[at]);
        } else {
          light = shader.sky(seen);
        }
        light = shader.through_air(light, std::min(stretch * depth, 1000.0f));
        light_[at] = {{light.x, light.y, light.z, 0}};
        const Vec3 ray{(x - lens.cx) / lens.fx, v, 1};
        const Vec3 along = moved * (1 / depth) - cross(drift.turn, ray);
        shifts_[at] = {lens.fx * (along.x - ray.x * along.z) * scene.exposure_s,
                       lens.fy * (along.y - ray.y * along.z) * scene.exposure_s};
      }
    }
  }

  // How what stands still moves in the camera's frame: m/s, and rad/s.
  struct Drift {
    Vec3 shift, turn;
  };
  static Drift drift_of(const Scene& scene) {
    return {scene.camera_from_city.turn(scene.velocity * -1.0f),
            scene.camera_from_city.turn({0, 0, scene.yaw_rate})};
  }

  void add(const Scene& scene, const Glow& glow) {
    const Vec3 p = scene.camera_from_city.apply(glow.position);
    if (p.z < 0.5f) return;
    const Lens& lens = raster_.lens;
    const float u = lens.fx * p.x / p.z + lens.cx, v = lens.fy * p.y / p.z + lens.cy;
    const int x = static_cast<int>(std::lround(u)), y = static_cast<int>(std::lround(v));
    if (x < 0 || x >= lens.width || y < 0 || y >= lens.height) return;
    const float before = raster_.inverse_depth[static_cast<size_t>(y) * lens.width + x];
    if (before > 0 && 1 / before < p.z - 0.4f) return;  // something hides it
    const float dim = std::exp(-scene.fog_per_m * p.z);
    add_glow(light_, lens.width, lens.height, u, v, glow.radius_px, glow.colour * dim);
  }

  void let_rain(const Scene& scene, float rain) {
    const Lens& lens = raster_.lens;
    const int count = static_cast<int>(rain * 25);
    const Vec3 bright = scene.horizon * 1.2f + Vec3{0.02f, 0.02f, 0.02f};
    for (int i = 0; i < count; ++i) {
      const uint32_t draw = hash32(static_cast<int>(scene.grain), i);
      const float depth = 0.7f + 7 * share(hash32(draw + 3));
      const float length = std::clamp(lens.fy * 8.0f * scene.exposure_s / depth, 2.0f, 60.0f);
      add_streak(light_, lens.width, lens.height, share(draw) * lens.width,
                 share(hash32(draw + 1)) * (lens.height + length) - length,
                 (share(hash32(draw + 2)) - 0.5f) * 0.15f, length, bright, 0.25f / depth + 0.06f);
    }
  }

  Raster raster_;
  std::vector<Vec3> ground_colours_;
  std::vector<std::unique_ptr<Mesh>> meshes_;
  std::vector<Light4> light_, blurred_;
  std::vector<Shift> shifts_;
  std::vector<Pixel16> codes_;
  std::vector<float> stretch_;  // length of each pixel's ray per unit of depth
};

}  // namespace fusion_rt::sim
