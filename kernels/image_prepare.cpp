// CPU side of image_prepare.cuh: each output row blends two source rows with SIMD, then its
// columns.
#include "image_prepare.cuh"

#include <algorithm>
#include <type_traits>

#include "bindings.h"

namespace nb = nanobind;
using namespace fusion_rt;

namespace {

FUSION_SIMD_CLONES void blend_row(const RowPair& pair, int32_t from, int32_t to, uint16_t* row) {
  const uint8_t *top = pair.top, *bottom = pair.bottom;
  const uint16_t second = static_cast<uint16_t>(pair.weight), first = 256 - second;
  for (int32_t i = from; i < to; ++i) {
    row[i] = static_cast<uint16_t>(top[i] * first + bottom[i] * second);
  }
}

template <PixelFormat Format, class Out>
inline void write_row(const ImageParams& p, const uint16_t* luma, const uint16_t* chroma,
                      Taps columns, Out* out, int32_t y) {
  for (int32_t x = 0; x < p.resized_width; ++x) {
    const Pixel pixel =
        resampled_pixel<Format>(BlendedRow{luma}, BlendedRow{chroma}, columns.first[x],
                                columns.second[x], static_cast<uint32_t>(columns.weight[x]));
    store(p, pixel, out, p.left + x, y);
  }
}

template <class Out>
FUSION_SIMD_CLONES void write_blended_row(const ImageParams& p, const uint16_t* luma,
                                          const uint16_t* chroma, Taps columns, Out* out,
                                          int32_t y) {
  if (p.format == kMono8) return write_row<kMono8>(p, luma, chroma, columns, out, y);
  if (p.format == kYuyv) return write_row<kYuyv>(p, luma, chroma, columns, out, y);
  return write_row<kNv12>(p, luma, chroma, columns, out, y);
}

// bgr8 and rgb8, the commonest cameras: a pixel and its right neighbour in one vector of eight
// lanes, the arithmetic of blend_rows and blend_columns per lane. Reading only the pixels that are
// used beats blending whole rows as soon as the picture shrinks.
using Bytes16 = uint8_t __attribute__((vector_size(16)));
using Lanes16 = uint16_t __attribute__((vector_size(16)));
using Lanes32 = uint32_t __attribute__((vector_size(16)));
using Words = uint64_t __attribute__((vector_size(16)));

// Widening by interleaving zeros: one instruction where __builtin_convertvector takes four (gcc
// 12).
inline Lanes16 lanes_at(const uint8_t* at) {
  uint64_t eight;
  std::memcpy(&eight, at, sizeof(eight));
  const Words padded = {eight, 0};
  constexpr Bytes16 kInterleave = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  return (Lanes16)__builtin_shuffle((Bytes16)padded, Bytes16{}, kInterleave);
}

// Where the taps are clamped the neighbour is the next pixel, not the same one again: its weight is
// 0.
inline Lanes32 colour_lanes(const uint8_t* top, const uint8_t* bottom, uint16_t row_weight,
                            uint32_t weight) {
  const uint16_t first = 256 - row_weight;
  const Lanes16 blended = lanes_at(top) * first + lanes_at(bottom) * row_weight;
  constexpr Lanes16 kLeft = {0, 8, 1, 8, 2, 8, 3, 8}, kRight = {3, 8, 4, 8, 5, 8, 6, 8};
  const Lanes32 left = (Lanes32)__builtin_shuffle(blended, Lanes16{}, kLeft);
  const Lanes32 right = (Lanes32)__builtin_shuffle(blended, Lanes16{}, kRight);
  return (left * (256 - weight) + right * weight + 32768) >> 16;
}

// Interleaved bytes, four at once: the fourth is overwritten by the next pixel.
FUSION_SIMD_CLONES void write_colours(RowPair rows, Taps columns, int32_t count, bool swap,
                                      uint8_t* out) {
  constexpr Bytes16 kAsIs = {0, 4, 8, 12}, kSwapped = {8, 4, 0, 12};
  const Bytes16 order = swap ? kSwapped : kAsIs;
  const uint8_t *top = rows.top, *bottom = rows.bottom;
  const uint16_t row_weight = static_cast<uint16_t>(rows.weight);
  for (int32_t x = 0; x < count; ++x) {
    const int32_t at = 3 * columns.first[x];
    const uint32_t weight = static_cast<uint32_t>(columns.weight[x]);
    const Lanes32 lanes = colour_lanes(top + at, bottom + at, row_weight, weight);
    const Lanes32 bytes = (Lanes32)__builtin_shuffle((Bytes16)lanes, order);
    const uint32_t four = bytes[0];
    std::memcpy(out + 3 * x, &four, sizeof(four));
  }
}

// How many pixels may be read eight bytes at a time without leaving the row, all but the last.
int32_t wide_count(const ImageParams& p, Taps columns) {
  int32_t count = p.resized_width - 1;
  while (count > 0 && 3 * columns.first[count - 1] + 8 > 3 * p.width) --count;
  return count;
}

template <class Out>
FUSION_SIMD_CLONES void spread_colours(const ImageParams& p, const uint8_t* colours, Out* out,
                                       int32_t y) {
  const ImageParams q = p;  // a store to `out` cannot change a copy
  for (int32_t x = 0; x < q.resized_width; ++x) {
    const uint8_t* c = colours + 3 * x;
    store_channels(q, c[0], c[1], c[2], out, q.left + x, y);
  }
}

template <class Out>
void write_colour_row(const ImageParams& p, const RowPair& rows, Taps columns, int32_t count,
                      uint8_t* colours, Out* out, int32_t y) {
  const bool swap = (p.format == kBgr8) != (p.bgr != 0);
  constexpr bool kIsBytes = std::is_same_v<Out, uint8_t>;
  const size_t at = static_cast<size_t>(y) * p.out_width + p.left;
  uint8_t* row = kIsBytes && !p.planar ? reinterpret_cast<uint8_t*>(out) + 3 * at : colours;
  write_colours(rows, columns, count, swap, row);
  for (int32_t x = count; x < p.resized_width; ++x) {
    const uint32_t weight = static_cast<uint32_t>(columns.weight[x]);
    for (int c = 0; c < 3; ++c) {
      const int32_t from = swap ? 2 - c : c;
      row[3 * x + c] = static_cast<uint8_t>(
          resample(rows, 3 * columns.first[x] + from, 3 * columns.second[x] + from, weight));
    }
  }
  if (row == colours) spread_colours(p, colours, out, y);
}

template <class Out>
void pad(const ImageParams& p, Out* out) {
  const Pixel padding = {p.pad, p.pad, p.pad};
  for (int32_t y = 0; y < p.out_height; ++y) {
    const bool beside = y >= p.top && y < p.top + p.resized_height;
    for (int32_t x = 0; x < (beside ? p.left : p.out_width); ++x) store(p, padding, out, x, y);
    if (!beside) continue;
    for (int32_t x = p.left + p.resized_width; x < p.out_width; ++x) store(p, padding, out, x, y);
  }
}

template <class Out>
void prepare_colour(const ImageParams& p, const uint8_t* image, Taps columns, Taps rows,
                    uint8_t* colours, Out* out) {
  const int32_t count = wide_count(p, columns);
  for (int32_t y = 0; y < p.resized_height; ++y) {
    write_colour_row(p, row_pair(p, image, rows, y), columns, count, colours, out, p.top + y);
  }
}

template <class Out>
void prepare_blended(const ImageParams& p, const uint8_t* image, Taps columns, Taps rows,
                     uint16_t* scratch, Out* out) {
  const int32_t stride = p.width * bytes_per_pixel(p.format);
  const int32_t from = columns.first[0] / 2 * 2 * bytes_per_pixel(p.format);
  const int32_t last = columns.second[p.resized_width - 1] / 2 * 2 + 2;
  const int32_t to = std::min(last * bytes_per_pixel(p.format), stride);
  uint16_t* chroma = scratch + stride;
  for (int32_t y = 0; y < p.resized_height; ++y) {
    blend_row(row_pair(p, image, rows, y), from, to, scratch);
    if (p.format == kNv12) blend_row(chroma_pair(p, image, rows, y), from, to, chroma);
    write_blended_row(p, scratch, chroma, columns, out, p.top + y);
  }
}

template <class Out>
void image_prepare(Bytes image, Integers<1> taps, Bytes params_bytes, Array<uint16_t, 1> scratch,
                   Array<Out, 1> out) {
  const ImageParams p = struct_from_bytes<ImageParams>(params_bytes);
  const int32_t w = p.resized_width, h = p.resized_height;
  const size_t pixels = static_cast<size_t>(p.width) * p.height;
  const size_t bytes = p.format == kNv12 ? pixels / 2 * 3 : pixels * bytes_per_pixel(p.format);
  require(image.size() == bytes, "image");
  require(taps.size() == 3 * static_cast<size_t>(w + h), "taps");
  const size_t blended = 2 * static_cast<size_t>(p.width) * bytes_per_pixel(p.format);
  require(scratch.size() >= blended && scratch.size() >= 2 * static_cast<size_t>(w), "scratch");
  require(out.size() == 3 * static_cast<size_t>(p.out_width) * p.out_height, "out");
  nb::gil_scoped_release unlocked;
  const int32_t* t = taps.data();
  const Taps columns = {t, t + w, t + 2 * w}, rows = {t + 3 * w, t + 3 * w + h, t + 3 * w + 2 * h};
  if (bytes_per_pixel(p.format) == 3) {
    uint8_t* colours = reinterpret_cast<uint8_t*>(scratch.data());
    prepare_colour(p, image.data(), columns, rows, colours, out.data());
  } else {
    prepare_blended(p, image.data(), columns, rows, scratch.data(), out.data());
  }
  pad(p, out.data());
}

}  // namespace

void bind_image_prepare(nb::module_& m) {
  m.def("image_prepare_u8", &image_prepare<uint8_t>, nb::arg("image"), nb::arg("taps"),
        nb::arg("params"), nb::arg("scratch"), nb::arg("out"));
  m.def("image_prepare_f32", &image_prepare<float>, nb::arg("image"), nb::arg("taps"),
        nb::arg("params"), nb::arg("scratch"), nb::arg("out"));
}
