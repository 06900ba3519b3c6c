// From light to an 8-bit image: motion blur, glow, rain, then lens, drops on it, and noise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
  const int x0 = std::max(0, static_cast<int>(u) - reach),
            x1 = std::min(width - 1, static_cast<int>(u) + reach);
  const int y0 = std::max(0, static_cast<int>(v) - reach),
            y1 = std::min(height - 1, static_cast<int>(v) + reach);
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
    const float bounded = bent < 0 ? 0 : (bent > 1 ? 1 : bent);
    codes[i] = static_cast<uint16_t>(static_cast<int>(std::sqrt(bounded) * 65280.0f));
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
      const float fx = u - x, fy = v - y;
      const auto weight = [](float w) { return static_cast<uint16_t>(w * 65535.0f); };
      taps_[i] = {y * source_width + x,
                  {weight((1 - fx) * (1 - fy)), weight(fx * (1 - fy)), weight((1 - fx) * fy),
                   weight(fx * fy)}};
    }
    for (size_t i = 0; i < grain_.size(); ++i)
      for (uint32_t c = 0; c < 3; ++c) {  // the sum of four uniforms is nearly normal
        float sum = 0;
        for (uint32_t k = 0; k < 4; ++k)
          sum += share(hash32(static_cast<uint32_t>(i) * 12 + c * 4 + k)) - 0.5f;
        grain_[i][c] = static_cast<int16_t>(sum * kGrainSigma * 1.732f);
      }
  }

  size_t size() const { return static_cast<size_t>(width_) * height_; }

  void develop(const std::vector<Pixel16>& image, const std::vector<Drop>& drops, uint32_t seed,
               float noise, bool is_bgr, uint8_t* to) const {
    const auto amplitude = static_cast<int16_t>(noise * 128 / kGrainSigma);
    for (int y = 0; y < height_; ++y) {
      const uint32_t start = hash32(seed * 4099u + static_cast<uint32_t>(y)) % (kGrain - width_);
      const Tap* taps = &taps_[static_cast<size_t>(y) * width_];
      const Grain* grain = &grain_[start];
      uint8_t* row = to + static_cast<size_t>(y) * width_ * 3;
      for (int x = 0; x < width_ - 1; ++x) {
        const std::array<uint8_t, 4> pixel =
            sample(image.data(), taps[x], grain[x], amplitude, is_bgr);
        std::memcpy(row + 3 * x, pixel.data(), 4);  // one byte too many: the next pixel covers it
      }
      const int last = width_ - 1;
      const std::array<uint8_t, 4> pixel =
          sample(image.data(), taps[last], grain[last], amplitude, is_bgr);
      std::memcpy(row + 3 * last, pixel.data(), 3);
    }
    for (const Drop& drop : drops) refract(image, drop, is_bgr ? 2 : 0, to);
  }

  // For each pixel of the output what `nearest` of the rendered pixels holds.
  template <typename T>
  void look_up(const std::vector<T>& nearest, T* to) const {
    for (size_t i = 0; i < taps_.size(); ++i) {
      const Tap& tap = taps_[i];
      const int best = static_cast<int>(std::max_element(tap.weights.begin(), tap.weights.end()) -
                                        tap.weights.begin());
      to[i] = nearest[tap.index + best % 2 + best / 2 * source_width_];
    }
  }

 private:
  struct Tap {
    int32_t index;                    // of the pixel above and to the left
    std::array<uint16_t, 4> weights;  // here, right, below, below right; they add up to 65535
  };
  using Grain = std::array<int16_t, 4>;
  static constexpr size_t kGrain = 1 << 16;
  static constexpr float kGrainSigma = 16;

  // Codes are halved to leave room for a sign: 128 per step of the 8-bit image.
#if defined(__SSE2__)
  std::array<uint8_t, 4> sample(const Pixel16* image, const Tap& tap, const Grain& grain,
                                int16_t amplitude, bool is_bgr) const {
    const auto load = [](const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); };
    const auto half = [](const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); };
    const __m128i weights = half(tap.weights.data());
    const __m128i twice = _mm_unpacklo_epi16(weights, weights);
    const __m128i top = _mm_mulhi_epu16(load(&image[tap.index]), _mm_unpacklo_epi32(twice, twice));
    const __m128i bottom =
        _mm_mulhi_epu16(load(&image[tap.index + source_width_]), _mm_unpackhi_epi32(twice, twice));
    const __m128i sums = _mm_add_epi16(top, bottom);
    __m128i code = _mm_srli_epi16(_mm_add_epi16(sums, _mm_srli_si128(sums, 8)), 1);
    if (is_bgr) code = _mm_shufflelo_epi16(code, _MM_SHUFFLE(3, 0, 1, 2));
    const __m128i noise = _mm_mullo_epi16(half(grain.data()), _mm_set1_epi16(amplitude));
    code = _mm_srai_epi16(_mm_adds_epi16(code, noise), 7);
    const int packed = _mm_cvtsi128_si32(_mm_packus_epi16(code, code));
    std::array<uint8_t, 4> pixel;
    std::memcpy(pixel.data(), &packed, 4);
    return pixel;
  }
#else
  std::array<uint8_t, 4> sample(const Pixel16* image, const Tap& tap, const Grain& grain,
                                int16_t amplitude, bool is_bgr) const {
    std::array<uint8_t, 4> pixel{};
    for (int c = 0; c < 3; ++c) {
      uint32_t sum = 0;
      for (int k = 0; k < 4; ++k) {
        const Pixel16& near = image[tap.index + k % 2 + k / 2 * source_width_];
        sum += static_cast<uint32_t>(near[is_bgr ? 2 - c : c]) * tap.weights[k] >> 16;
      }
      const int noisy =
          std::clamp(static_cast<int>(sum >> 1) + grain[c] * amplitude, -32768, 32767);
      pixel[c] = static_cast<uint8_t>(std::clamp(noisy >> 7, 0, 255));
    }
    return pixel;
  }
#endif

  // A drop shows what is around it upside down, and a dark rim.
  void refract(const std::vector<Pixel16>& image, const Drop& drop, int red, uint8_t* to) const {
    const int reach = static_cast<int>(drop.radius);
    for (int dy = -reach; dy <= reach; ++dy)
      for (int dx = -reach; dx <= reach; ++dx) {
        const int x = static_cast<int>(drop.x) + dx, y = static_cast<int>(drop.y) + dy;
        const float r = std::sqrt(static_cast<float>(dx * dx + dy * dy)) / drop.radius;
        if (r >= 1 || x < 0 || x >= width_ || y < 0 || y >= height_) continue;
        const int from_x = std::clamp(x - dx * 5, 0, width_ - 1),
                  from_y = std::clamp(y - dy * 5, 0, height_ - 1);
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
  std::vector<Grain> grain_;
};

}  // namespace fusion_rt::sim
