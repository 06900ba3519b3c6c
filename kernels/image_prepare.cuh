// Camera frame to network input: crop, bilinear resize, letterbox, colour order, normalization.
//
// Integer arithmetic up to the resized 8-bit value, rows blended first and columns second: the CPU,
// which blends whole rows at once, and the GPU, which works per pixel, agree bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.cuh"

namespace fusion_rt {

// Order shared with PIXEL_FORMATS in fusion_rt/preprocess/image_prepare.py.
enum PixelFormat : int32_t { kBgr8, kRgb8, kMono8, kYuyv, kNv12 };

// Layout shared with IMAGE_PARAMS in fusion_rt/preprocess/image_prepare.py.
struct ImageParams {
  int32_t format;
  int32_t width, height;                             // source, pixels
  int32_t out_width, out_height;                     // network input
  int32_t left, top, resized_width, resized_height;  // where the picture lies in it
  int32_t planar;                                    // 1: (3, H, W), 0: (H, W, 3)
  int32_t bgr;                                       // order of the output's channels
  int32_t pad;                                       // 0..255, beside the picture
  float scale[3], shift[3];                          // float output: value * scale + shift
};

// Taps of one output row or column: neighbours and the weight of the second one, of 256.
struct Taps {
  const int32_t *first, *second, *weight;
};

struct Pixel {
  int32_t red, green, blue;
};

FUSION_HOST_DEVICE inline uint32_t blend_rows(uint32_t top, uint32_t bottom, uint32_t weight) {
  return top * (256 - weight) + bottom * weight;  // <= 65280: fits 16 bits
}

FUSION_HOST_DEVICE inline int32_t blend_columns(uint32_t left, uint32_t right, uint32_t weight) {
  return static_cast<int32_t>((left * (256 - weight) + right * weight + 32768) >> 16);
}

FUSION_HOST_DEVICE inline int32_t clamp_to_byte(int32_t value) {
  return value < 0 ? 0 : (value > 255 ? 255 : value);
}

// ITU-R BT.601, limited range, coefficients times 2^20.
FUSION_HOST_DEVICE inline Pixel pixel_from_yuv(int32_t y, int32_t u, int32_t v) {
  const int32_t luma = (y > 16 ? y - 16 : 0) * 1220542 + (1 << 19);
  const int32_t cb = u - 128, cr = v - 128;
  return {clamp_to_byte((luma + 1673527 * cr) >> 20),
          clamp_to_byte((luma - 852492 * cr - 409993 * cb) >> 20),
          clamp_to_byte((luma + 2116026 * cb) >> 20)};
}

// Rows whose blend is computed when asked for (GPU) ...
struct RowPair {
  const uint8_t *top, *bottom;
  uint32_t weight;
  FUSION_HOST_DEVICE uint32_t at(int32_t offset) const {
    return blend_rows(top[offset], bottom[offset], weight);
  }
};

// ... or was computed for the whole row (CPU).
struct BlendedRow {
  const uint16_t* row;
  FUSION_HOST_DEVICE uint32_t at(int32_t offset) const { return row[offset]; }
};

template <class Row>
FUSION_HOST_DEVICE inline int32_t resample(const Row& row, int32_t left, int32_t right,
                                           uint32_t weight) {
  return blend_columns(row.at(left), row.at(right), weight);
}

// `chroma` is read for nv12 only. Chroma is not smoothed across pixels that share a sample.
template <PixelFormat Format, class Row>
FUSION_HOST_DEVICE inline Pixel resampled_pixel(const Row& row, const Row& chroma, int32_t left,
                                                int32_t right, uint32_t weight) {
  if (Format == kMono8) {
    const int32_t grey = resample(row, left, right, weight);
    return {grey, grey, grey};
  }
  if (Format == kYuyv) {
    const int32_t a = left / 2 * 4, b = right / 2 * 4;
    return pixel_from_yuv(resample(row, 2 * left, 2 * right, weight),
                          resample(row, a + 1, b + 1, weight), resample(row, a + 3, b + 3, weight));
  }
  if (Format == kNv12) {
    const int32_t a = left / 2 * 2, b = right / 2 * 2;
    return pixel_from_yuv(resample(row, left, right, weight), resample(chroma, a, b, weight),
                          resample(chroma, a + 1, b + 1, weight));
  }
  const int32_t low = resample(row, 3 * left, 3 * right, weight);
  const int32_t green = resample(row, 3 * left + 1, 3 * right + 1, weight);
  const int32_t high = resample(row, 3 * left + 2, 3 * right + 2, weight);
  return Format == kBgr8 ? Pixel{high, green, low} : Pixel{low, green, high};
}

FUSION_HOST_DEVICE inline int32_t bytes_per_pixel(int32_t format) {
  return format == kYuyv ? 2 : (format == kBgr8 || format == kRgb8 ? 3 : 1);
}

FUSION_HOST_DEVICE inline RowPair row_pair(const ImageParams& p, const uint8_t* image, Taps rows,
                                           int32_t y) {
  const int32_t stride = p.width * bytes_per_pixel(p.format);
  return {image + static_cast<size_t>(rows.first[y]) * stride,
          image + static_cast<size_t>(rows.second[y]) * stride,
          static_cast<uint32_t>(rows.weight[y])};
}

// The interleaved half-resolution rows of an nv12 image, below its luma.
FUSION_HOST_DEVICE inline RowPair chroma_pair(const ImageParams& p, const uint8_t* image, Taps rows,
                                              int32_t y) {
  const uint8_t* plane = image + static_cast<size_t>(p.width) * p.height;
  return {plane + static_cast<size_t>(rows.first[y] / 2) * p.width,
          plane + static_cast<size_t>(rows.second[y] / 2) * p.width,
          static_cast<uint32_t>(rows.weight[y])};
}

FUSION_HOST_DEVICE inline void convert(const ImageParams&, int, int32_t value, uint8_t* out) {
  *out = static_cast<uint8_t>(value);
}

FUSION_HOST_DEVICE inline void convert(const ImageParams& p, int channel, int32_t value,
                                       float* out) {
  *out = static_cast<float>(value) * p.scale[channel] + p.shift[channel];
}

// Channels in the output's order.
template <class Out>
FUSION_HOST_DEVICE inline void store_channels(const ImageParams& p, int32_t first, int32_t second,
                                              int32_t third, Out* out, int32_t x, int32_t y) {
  const size_t at = static_cast<size_t>(y) * p.out_width + x;
  const size_t plane = static_cast<size_t>(p.out_height) * p.out_width;
  const size_t start = p.planar ? at : 3 * at, step = p.planar ? plane : 1;
  convert(p, 0, first, out + start);
  convert(p, 1, second, out + start + step);
  convert(p, 2, third, out + start + 2 * step);
}

template <class Out>
FUSION_HOST_DEVICE inline void store(const ImageParams& p, const Pixel& pixel, Out* out, int32_t x,
                                     int32_t y) {
  const int32_t first = p.bgr ? pixel.blue : pixel.red, third = p.bgr ? pixel.red : pixel.blue;
  store_channels(p, first, pixel.green, third, out, x, y);
}

}  // namespace fusion_rt
