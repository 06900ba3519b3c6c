// GPU side of audio_features.cuh: a block per frame, spectra of all channels in shared memory.
#include "audio_features.cuh"

namespace fusion_rt {

struct Shared {
  float *re, *im;    // work of one transform, fft_size each
  Complex* spectra;  // (channels, fft_size / 2 + 1)
};

__device__ void transform(const AudioParams& p, const AudioTables& tables, const Shared& s) {
  for (int32_t stage = 0; stage < p.fft_bits; ++stage) {
    __syncthreads();
    for (size_t index = threadIdx.x; index < p.fft_size / 2; index += blockDim.x) {
      const ButterflyPlace at = butterfly_place(p, stage, index);
      const float* twiddle = tables.twiddles + 2 * at.twiddle;
      butterfly(s.re, s.im, at.upper, at.lower, {twiddle[0], twiddle[1]});
    }
  }
  __syncthreads();
}

__device__ void load_two(const AudioParams& p, const AudioTables& tables, const float* samples,
                         int32_t channel, const Shared& s) {
  const float* start = samples + static_cast<size_t>(blockIdx.x) * p.hop * p.channels + channel;
  const bool has_second = channel + 1 < p.channels;
  for (uint32_t i = threadIdx.x; i < p.fft_size; i += blockDim.x) {
    const float* at = start + static_cast<size_t>(i) * p.channels;
    const uint32_t to = reversed_bits(i, p.fft_bits);
    s.re[to] = finite_or_zero(at[0]) * tables.window[i];
    s.im[to] = has_second ? finite_or_zero(at[1]) * tables.window[i] : 0.0f;
  }
}

__device__ void keep_two(const AudioParams& p, int32_t channel, const Shared& s) {
  const uint32_t bins = p.fft_size / 2 + 1;
  for (uint32_t k = threadIdx.x; k < bins; k += blockDim.x) {
    const uint32_t mirror = (p.fft_size - k) & (p.fft_size - 1);
    Complex first, second;
    split({s.re[k], s.im[k]}, {s.re[mirror], s.im[mirror]}, &first, &second);
    s.spectra[channel * bins + k] = first;
    if (channel + 1 < p.channels) s.spectra[(channel + 1) * bins + k] = second;
  }
  __syncthreads();
}

__device__ void write_mel(const AudioParams& p, const AudioTables& tables, const Shared& s,
                          float* mel) {
  for (int32_t row = threadIdx.x; row < p.channels * p.bands; row += blockDim.x) {
    const int32_t* band = tables.bands + 3 * (row % p.bands);
    const Complex* bins = s.spectra + (row / p.bands) * (p.fft_size / 2 + 1) + band[0];
    float energy = 0.0f;
    for (int32_t k = 0; k < band[1]; ++k) {
      const float power = bins[k].re * bins[k].re + bins[k].im * bins[k].im;
      energy += tables.band_weights[band[2] + k] * power;
    }
    mel[static_cast<size_t>(row) * p.frames + blockIdx.x] = log_energy(energy);
  }
}

__device__ Complex phase_of(const AudioParams& p, const AudioTables& tables, const Shared& s,
                            int32_t pair, uint32_t k) {
  const uint32_t bins = p.fft_size / 2 + 1;
  const int32_t* channels = tables.pairs + 2 * pair;
  return phase_between(s.spectra[channels[0] * bins + k], s.spectra[channels[1] * bins + k]);
}

__device__ void write_delays(const AudioParams& p, const AudioTables& tables, const Shared& s,
                             int32_t pair, int32_t pair_count, float* gcc) {
  const bool has_second = pair + 1 < pair_count;
  for (uint32_t k = threadIdx.x; k <= p.fft_size / 2; k += blockDim.x) {
    const Complex g1 = phase_of(p, tables, s, pair, k);
    const Complex g2 = has_second ? phase_of(p, tables, s, pair + 1, k) : Complex{0.0f, 0.0f};
    Complex at, mirrored;
    pack_conjugate(g1, g2, &at, &mirrored);
    const uint32_t to = reversed_bits(k, p.fft_bits);
    const uint32_t back = reversed_bits((p.fft_size - k) & (p.fft_size - 1), p.fft_bits);
    s.re[back] = mirrored.re;
    s.im[back] = mirrored.im;
    s.re[to] = at.re;
    s.im[to] = at.im;
  }
  transform(p, tables, s);
  const float scale = 1.0f / static_cast<float>(p.fft_size);
  for (int32_t column = threadIdx.x; column < p.lags; column += blockDim.x) {
    const size_t at = lag_place(p, column);
    float* out = gcc + (static_cast<size_t>(pair) * p.frames + blockIdx.x) * p.lags + column;
    out[0] = s.re[at] * scale;
    if (has_second) out[static_cast<size_t>(p.frames) * p.lags] = -s.im[at] * scale;
  }
  __syncthreads();
}

}  // namespace fusion_rt

// Launch with `frames` blocks and shared memory for two floats per FFT bin and all channels'
// spectra.
extern "C" __global__ void audio_features(const float* samples, const float* window,
                                          const float* twiddles, const int32_t* bands,
                                          const float* band_weights, const int32_t* pairs,
                                          float* mel, float* gcc, fusion_rt::AudioParams p) {
  extern __shared__ float memory[];
  const fusion_rt::AudioTables tables = {window, twiddles, bands, band_weights, pairs};
  const fusion_rt::Shared shared = {memory, memory + p.fft_size,
                                    reinterpret_cast<fusion_rt::Complex*>(memory + 2 * p.fft_size)};
  for (int32_t channel = 0; channel < p.channels; channel += 2) {
    fusion_rt::load_two(p, tables, samples, channel, shared);
    fusion_rt::transform(p, tables, shared);
    fusion_rt::keep_two(p, channel, shared);
  }
  fusion_rt::write_mel(p, tables, shared, mel);
  const int32_t pair_count = p.channels * (p.channels - 1) / 2;
  for (int32_t pair = 0; pair < pair_count; pair += 2) {
    fusion_rt::write_delays(p, tables, shared, pair, pair_count, gcc);
  }
}
