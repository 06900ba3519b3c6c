// What the same source needs under nvcc and under the host's compiler.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define FUSION_HOST_DEVICE __host__ __device__
#else
#define FUSION_HOST_DEVICE
#endif

// Wheels must run on any x86-64: the loader picks the widest build of a loop that the processor
// has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define FUSION_SIMD_CLONES \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FUSION_SIMD_CLONES
#endif

namespace fusion_rt {

// Natural logarithm of a positive normal float, relative error below 2e-7. Polynomial and split of
// ln 2 from Cephes logf; spelled out because a libm call is not vectorized and differs per device.
FUSION_HOST_DEVICE inline float natural_log(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  // Shifting by sqrt(1/2) puts the mantissa into [sqrt(1/2), sqrt(2)).
  const uint32_t shifted = bits - 0x3f3504f3u;
  const float exponent = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const uint32_t mantissa_bits = (shifted & 0x007fffffu) + 0x3f3504f3u;
  float mantissa;
  memcpy(&mantissa, &mantissa_bits, sizeof(mantissa));
  const float f = mantissa - 1.0f;
  const float square = f * f;
  float series = 7.0376836292e-2f;
  series = series * f - 1.1514610310e-1f;
  series = series * f + 1.1676998740e-1f;
  series = series * f - 1.2420140846e-1f;
  series = series * f + 1.4249322787e-1f;
  series = series * f - 1.6668057665e-1f;
  series = series * f + 2.0000714765e-1f;
  series = series * f - 2.4999993993e-1f;
  series = series * f + 3.3333331174e-1f;
  const float low = series * f * square - 2.12194440e-4f * exponent - 0.5f * square;
  return f + low + 0.693359375f * exponent;
}

}  // namespace fusion_rt
