// What the camera is told of one moment: light, weather, and where everything is.
#pragma once

#include <array>
#include <vector>

#include "ground.h"
#include "raster.h"

namespace fusion_rt::sim {

// Numbers of fusion_rt/sim/materials.py: Texture.
enum Texture : uint8_t {
  kPlain,
  kPaint,
  kGlass,
  kFacade,
  kFoliage,
  kHeadLamp,
  kTailLamp,
  kStreetLamp,
  kBeacon,
  kCloth
};

struct Mesh {
  std::vector<Vec3> vertices;
  std::vector<std::array<int32_t, 3>> triangles;
  std::vector<uint8_t> textures;  // per triangle
  std::vector<Vec3> colours;      // per triangle, linear RGB
  std::vector<Vec3> normals;      // per triangle
};

struct Instance {
  const Mesh* mesh;
  Transform city_from_object;
  Vec3 colour;     // of paint and cloth
  Vec3 velocity;   // m/s, city frame
  float yaw_rate;  // rad/s
  bool casts_shadow, is_counted, is_sunlit, has_beacon_lit;

  bool is_moving() const { return dot(velocity, velocity) > 0 || yaw_rate != 0; }
};

// Directions are unit vectors in the city frame, colours linear RGB, light in units of full sun.
struct Scene {
  StreetPlan plan;
  int lamps_per_block = 3;
  Transform camera_from_city{{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}};
  Vec3 velocity{0, 0, 0};  // of the camera, m/s
  float yaw_rate = 0;
  Vec3 to_sun{0, 0, 1}, sun{1, 1, 1}, zenith{0.3f, 0.4f, 0.6f}, horizon{0.6f, 0.7f, 0.8f};
  float cloud = 0;
  float shadow = 0;  // share of the sun that shadows take
  float lamps = 0;   // light of the street lamps; 0 by day
  float wetness = 0;
  float fog_per_m = 0;
  Vec3 fog{0.6f, 0.6f, 0.6f};
  Vec3 head_lamp{0, 0, 0}, head_lamp_way{1, 0, 0};
  float head_lamp_power = 0;
  std::vector<std::array<float, 4>> tunnels;  // x0 x1 y0 y1
  float gain = 1;                             // image value per light
  float exposure_s = 0;
  uint32_t grain = 0;  // draws the noise of this frame
  float noise = 0;     // standard deviation in steps of the 8-bit image

  Vec3 position() const { return camera_from_city.turn_back(camera_from_city.shift * -1.0f); }
};

// A small dot of light: a lamp, seen with the halo a lens gives it.
struct Glow {
  Vec3 position;  // city frame
  Vec3 colour;
  float radius_px;
};

}  // namespace fusion_rt::sim
