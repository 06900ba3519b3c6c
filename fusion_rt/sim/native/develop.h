// From light to an 8-bit image: motion blur, glow, rain, then lens, drops on it, and noise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "shade.h"

namespace fusion_rt::sim {

struct Light4 {  // red, green, blue and nothing: four lanes are quicker than three
  float v[4];
};

struct Shift {  // pixels that a pixel's content moves during the exposure
  float u, v;
};

// Averages along the path that each pixel's content takes.
inline void blur(const std::vector<Light4>& from, const std::vector<Shift>& shifts, int width,
                 int height, std::vector<Light4>& to) {
  constexpr int kMost = 12;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const size_t at = static_cast<size_t>(y) * width + x;
      const Shift s = shifts[at];
      const float longest = std::max(std::fabs(s.u), std::fabs(s.v));
      if (longest < 1) {
        to[at] = from[at];
        continue;
      }
      const int taps = std::min(kMost, 1 + static_cast<int>(longest));
      Light4 sum{{0, 0, 0, 0}};
      for (int i = 0; i < taps; ++i) {
        const float k = (i + 0.5f) / taps - 0.5f;
        const int u = std::clamp(x + static_cast<int>(std::lround(s.u * k)), 0, width - 1);
        const int v = std::clamp(y + static_cast<int>(std::lround(s.v * k)), 0, height - 1);
        const Light4& tap = from[static_cast<size_t>(v) * width + u];
        for (int c = 0; c < 4; ++c) sum.v[c] += tap.v[c];
      }
      for (int c = 0; c < 4; ++c) to[at].v[c] = sum.v[c] / taps;
    }
}

// Adds a halo of light around a pixel.
inline void add_glow(std::vector<Light4>& image, int width, int height, float u, float v,
                     float radius, Vec3 colour) {
  const int reach = static_cast<int>(radius * 4) + 1;
  const int x0 = std::max(0, static_cast<int>(u) - reach), x1 = std::min(width - 1, static_cast<int>(u) + reach);
  const int y0 = std::max(0, static_cast<int>(v) - reach), y1 = std::min(height - 1, static_cast<int>(v) + reach);
  for (int y = y0; y <= y1; ++y)
    for (int x = x0; x <= x1; ++x) {
      const float d = ((x - u) * (x - u) + (y - v) * (y - v)) / (radius * radius);
      const float k = 1 / ((1 + d) * (1 + d)) * clamp01(1 - d / 16);
      float* pixel = image[static_cast<size_t>(y) * width + x].v;
      pixel[0] += colour.x * k;
      pixel[1] += colour.y * k;
      pixel[2] += colour.z * k;
    }
}

// One drop of rain, falling through the picture as a bright line.
inline void add_streak(std::vector<Light4>& image, int width, int height, float u, float v,
                       float lean, float length, Vec3 colour, float opacity) {
  for (int i = 0; i < static_cast<int>(length); ++i) {
    const int x = static_cast<int>(u + lean * i), y = static_cast<int>(v) + i;
    if (x < 0 || x >= width || y < 0 || y >= height) continue;
    float* pixel = image[static_cast<size_t>(y) * width + x].v;
    pixel[0] += (colour.x - pixel[0]) * opacity;
    pixel[1] += (colour.y - pixel[1]) * opacity;
    pixel[2] += (colour.z - pixel[2]) * opacity;
  }
}

using Pixel16 = std::array<uint16_t, 4>;

// The sensor's response: the square root of light, which is close to what displays expect, and
// makes the noise of photons the same at every brightness.
FUSION_RT_WIDE inline void encode(const Light4* from, Pixel16* to, size_t count, float gain) {
  const float* values = from->v;
  uint16_t* codes = to->data();
  for (size_t i = 0; i < count * 4; ++i) {
    const float exposed = values[i] * gain;
    const float bent = exposed / (1 + 0.25f * exposed) * 1.25f;  // highlights roll off
    codes[i] = static_cast<uint16_t>(std::sqrt(std::min(std::max(bent, 0.0f), 1.0f)) * 65280.0f);
  }
}

struct Drop {  // of water on the lens, in pixels of the output
  float x, y, radius;
};

// Bends the rendered image as the lens does, and adds noise.
class LensMap {
 public:
  // `map`: (height, width, 2) where each pixel of the output lies in the rendered image.
  LensMap(const float* map, int width, int height, int source_width, int source_height)
      : width_(width), height_(height), source_width_(source_width), taps_(size()), grain_(kGrain) {
    for (size_t i = 0; i < taps_.size(); ++i) {
      const float u = std::clamp(map[2 * i], 0.0f, source_width - 1.001f);
      const float v = std::clamp(map[2 * i + 1], 0.0f, source_height - 1.001f);
      const int x = static_cast<int>(u), y = static_cast<int>(v);
      taps_[i] = {y * source_width + x, static_cast<uint16_t>((u - x) * 256),
                  static_cast<uint16_t>((v - y) * 256)};
    }
    for (size_t i = 0; i < grain_.size(); ++i) {  // sum of four uniforms: nearly normal, sigma 32
      float sum = 0;
      for (uint32_t k = 0; k < 4; ++k) sum += share(hash32(static_cast<uint32_t>(i) * 4 + k)) - 0.5f;
      grain_[i] = static_cast<int8_t>(std::clamp(sum * 55.4f, -127.0f, 127.0f));
    }
  }

  size_t size() const { return static_cast<size_t>(width_) * height_; }

  // `red` is the index of the red channel in the output: 0 or 2.
  void develop(const std::vector<Pixel16>& image, const std::vector<Drop>& drops, uint32_t seed,
               float noise, int red, uint8_t* to) const {
    const int amplitude = static_cast<int>(noise * 256 / kGrainSigma);
    for (int y = 0; y < height_; ++y) {
      const uint32_t start = hash32(seed * 4099u + static_cast<uint32_t>(y)) % (kGrain - kMaxRow);
      row(&taps_[static_cast<size_t>(y) * width_], image.data(), &grain_[start], amplitude, red,
          to + static_cast<size_t>(y) * width_ * 3);
    }
    for (const Drop& drop : drops) refract(image, drop, red, to);
  }

  void labels(const std::vector<uint32_t>& owners, uint32_t* to) const {
    for (size_t i = 0; i < taps_.size(); ++i) {
      const Tap& tap = taps_[i];
      const int right = tap.fx >= 128, down = tap.fy >= 128;
      to[i] = owners[tap.index + right + down * source_width_];
    }
  }

 private:
  struct Tap {
    int32_t index;
    uint16_t fx, fy;  // 256ths towards the next pixel and row
  };
  static constexpr size_t kGrain = 1 << 18, kMaxRow = 3 * 16384;
  static constexpr float kGrainSigma = 32;

  void row(const Tap* taps, const Pixel16* image, const int8_t* grain, int amplitude, int red,
           uint8_t* to) const {
    for (int x = 0; x < width_; ++x) {
      const Tap tap = taps[x];
      const uint16_t* near = image[tap.index].data();
      const uint16_t* below = image[tap.index + source_width_].data();
      const uint32_t fx = tap.fx, fy = tap.fy;
      int codes[4];
      for (int c = 0; c < 4; ++c) {
        const uint32_t top = near[c] * (256 - fx) + near[c + 4] * fx;
        const uint32_t bottom = below[c] * (256 - fx) + below[c + 4] * fx;
        codes[c] = static_cast<int>((top >> 8) * (256 - fy) + (bottom >> 8) * fy) >> 8;
      }
      const int8_t* g = grain + x * 3;
      to[3 * x] = code(codes[red], g[0], amplitude);
      to[3 * x + 1] = code(codes[1], g[1], amplitude);
      to[3 * x + 2] = code(codes[2 - red], g[2], amplitude);
    }
  }

  static uint8_t code(int value, int grain, int amplitude) {
    return static_cast<uint8_t>(std::clamp((value + grain * amplitude + 128) >> 8, 0, 255));
  }

  // A drop shows what is around it upside down, and a dark rim.
  void refract(const std::vector<Pixel16>& image, const Drop& drop, int red, uint8_t* to) const {
    const int reach = static_cast<int>(drop.radius);
    for (int dy = -reach; dy <= reach; ++dy)
      for (int dx = -reach; dx <= reach; ++dx) {
        const int x = static_cast<int>(drop.x) + dx, y = static_cast<int>(drop.y) + dy;
        const float r = std::sqrt(static_cast<float>(dx * dx + dy * dy)) / drop.radius;
        if (r >= 1 || x < 0 || x >= width_ || y < 0 || y >= height_) continue;
        const int from_x = std::clamp(x - dx * 5, 0, width_ - 1), from_y = std::clamp(y - dy * 5, 0, height_ - 1);
        const Pixel16& seen = image[taps_[static_cast<size_t>(from_y) * width_ + from_x].index];
        const float opacity = std::min(1.0f, (1 - r) * 4), rim = 1 - 0.5f * r * r * r;
        uint8_t* pixel = to + (static_cast<size_t>(y) * width_ + x) * 3;
        for (int c = 0; c < 3; ++c) {
          const float value = seen[red == 0 ? c : 2 - c] / 256.0f * rim;
          pixel[c] = static_cast<uint8_t>(pixel[c] + (value - pixel[c]) * opacity);
        }
      }
  }

  int width_, height_, source_width_;
  std::vector<Tap> taps_;
  std::vector<int8_t> grain_;
};

}  // namespace fusion_rt::sim
