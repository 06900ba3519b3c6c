// Microphone samples to network input: log-mel energies per channel, and GCC-PHAT (the delay
// between each pair of microphones, from the phase of their cross-spectrum) per pair.
//
// Two real signals ride in one complex FFT. `Lanes` is how many frames lie side by side: 1 on the
// GPU, where threads share a frame; the width of a SIMD register and more on the CPU.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "portable.cuh"

namespace fusion_rt {

constexpr int kMaxChannels = 16;
constexpr int kMaxFft = 4096;

// Layout shared with AUDIO_PARAMS in fusion_rt/preprocess/audio_features.py.
struct AudioParams {
  int32_t channels, frames, fft_size, fft_bits, hop, bands, lags;
};

// Tables shared by all frames, made once by fusion_rt/preprocess/audio_features.py.
struct AudioTables {
  const float* window;        // (fft_size,)
  const float* twiddles;      // (fft_size / 2, 2): cos and -sin of 2 pi k / fft_size
  const int32_t* bands;       // (bands, 3): first bin, number of bins, first weight
  const float* band_weights;  // all triangles, one after the other
  const int32_t* pairs;       // (pairs, 2): channels
};

struct Complex {
  float re, im;
};

FUSION_HOST_DEVICE inline uint32_t reversed_bits(uint32_t index, int32_t bits) {
  uint32_t reversed = 0;
  for (int32_t bit = 0; bit < bits; ++bit) reversed |= (index >> bit & 1u) << (bits - 1 - bit);
  return reversed;
}

FUSION_HOST_DEVICE inline float finite_or_zero(float sample) {
  return sample >= -1e18f && sample <= 1e18f ? sample : 0.0f;  // its square must stay finite too
}

// Butterfly `index` of fft_size / 2 in stage `stage` (0 first), for one lane of interleaved work.
FUSION_HOST_DEVICE inline void butterfly(float* re, float* im, size_t upper, size_t lower,
                                         Complex twiddle) {
  const float r = re[lower] * twiddle.re - im[lower] * twiddle.im;
  const float i = re[lower] * twiddle.im + im[lower] * twiddle.re;
  re[lower] = re[upper] - r;
  im[lower] = im[upper] - i;
  re[upper] += r;
  im[upper] += i;
}

struct ButterflyPlace {
  size_t upper, lower, twiddle;
};

FUSION_HOST_DEVICE inline ButterflyPlace butterfly_place(const AudioParams& p, int32_t stage,
                                                         size_t index) {
  const size_t half = size_t{1} << stage;
  const size_t within = index & (half - 1);
  const size_t upper = (index >> stage << (stage + 1)) + within;
  return {upper, upper + half, within << (p.fft_bits - 1 - stage)};
}

// Spectra of the two real signals whose packed transform has `at` in bin k and `mirror` in bin -k.
FUSION_HOST_DEVICE inline void split(Complex at, Complex mirror, Complex* first, Complex* second) {
  *first = {0.5f * (at.re + mirror.re), 0.5f * (at.im - mirror.im)};
  *second = {0.5f * (at.im + mirror.im), 0.5f * (mirror.re - at.re)};
}

// Phase only: a * conj(b) / |a * conj(b)|, zero where there is no signal.
FUSION_HOST_DEVICE inline Complex phase_between(Complex a, Complex b) {
  const float re = a.re * b.re + a.im * b.im, im = a.im * b.re - a.re * b.im;
  const float inverse = 1.0f / (sqrtf(re * re + im * im) + 1e-20f);
  return {re * inverse, im * inverse};
}

// Bin k and bin -k of the conjugate of G1 + i G2, whose forward transform is g1 - i g2 (times
// size).
FUSION_HOST_DEVICE inline void pack_conjugate(Complex g1, Complex g2, Complex* at,
                                              Complex* mirror) {
  *at = {g1.re - g2.im, -(g1.im + g2.re)};
  *mirror = {g1.re + g2.im, g1.im - g2.re};
}

FUSION_HOST_DEVICE inline float log_energy(float energy) {
  return natural_log(energy > 1e-10f ? energy : 1e-10f);
}

// Index into the work of an inverse transform for an output column: lags run from -lags / 2 on.
FUSION_HOST_DEVICE inline size_t lag_place(const AudioParams& p, int32_t column) {
  return static_cast<size_t>(column - p.lags / 2) & (p.fft_size - 1);
}

}  // namespace fusion_rt
