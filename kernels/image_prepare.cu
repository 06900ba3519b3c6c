// GPU side of image_prepare.cuh: a thread per pixel of the network's input, padding included.
#include "image_prepare.cuh"

namespace fusion_rt {

template <PixelFormat Format>
__device__ Pixel picture_pixel(const ImageParams& p, const uint8_t* image, Taps columns, Taps rows,
                               int32_t x, int32_t y) {
  const RowPair row = row_pair(p, image, rows, y);
  const RowPair chroma = Format == kNv12 ? chroma_pair(p, image, rows, y) : row;
  return resampled_pixel<Format>(row, chroma, columns.first[x], columns.second[x],
                                 static_cast<uint32_t>(columns.weight[x]));
}

__device__ Pixel any_pixel(const ImageParams& p, const uint8_t* image, Taps columns, Taps rows,
                           int32_t x, int32_t y) {
  switch (p.format) {
    case kBgr8:
      return picture_pixel<kBgr8>(p, image, columns, rows, x, y);
    case kRgb8:
      return picture_pixel<kRgb8>(p, image, columns, rows, x, y);
    case kMono8:
      return picture_pixel<kMono8>(p, image, columns, rows, x, y);
    case kYuyv:
      return picture_pixel<kYuyv>(p, image, columns, rows, x, y);
    default:
      return picture_pixel<kNv12>(p, image, columns, rows, x, y);
  }
}

template <class Out>
__device__ void prepare(const uint8_t* image, const int32_t* taps, Out* out, const ImageParams& p) {
  const int32_t x = blockIdx.x * blockDim.x + threadIdx.x;
  const int32_t y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.out_width || y >= p.out_height) return;
  const int32_t w = p.resized_width, h = p.resized_height;
  const Taps columns = {taps, taps + w, taps + 2 * w};
  const Taps rows = {taps + 3 * w, taps + 3 * w + h, taps + 3 * w + 2 * h};
  const int32_t column = x - p.left, row = y - p.top;
  const bool in_picture = column >= 0 && column < w && row >= 0 && row < h;
  const Pixel pixel =
      in_picture ? any_pixel(p, image, columns, rows, column, row) : Pixel{p.pad, p.pad, p.pad};
  store(p, pixel, out, x, y);
}

}  // namespace fusion_rt

extern "C" __global__ void image_prepare_u8(const uint8_t* image, const int32_t* taps, uint8_t* out,
                                            fusion_rt::ImageParams params) {
  fusion_rt::prepare(image, taps, out, params);
}

extern "C" __global__ void image_prepare_f32(const uint8_t* image, const int32_t* taps, float* out,
                                             fusion_rt::ImageParams params) {
  fusion_rt::prepare(image, taps, out, params);
}
