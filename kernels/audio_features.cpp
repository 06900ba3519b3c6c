// CPU side of audio_features.cuh: eight frames side by side, so that every step is a SIMD loop.
#include "audio_features.cuh"

#include <algorithm>

#include "bindings.h"

namespace nb = nanobind;
using namespace fusion_rt;

namespace {

constexpr size_t kLanes = 8;

// Views of the caller's scratch: work of one transform, then the spectra of all channels.
struct Scratch {
  float *re, *im;                  // (fft_size, kLanes)
  float *spectra_re, *spectra_im;  // (channels, bins, kLanes)
};

size_t bins_of(const AudioParams& p) { return static_cast<size_t>(p.fft_size) / 2 + 1; }

size_t scratch_floats(const AudioParams& p) {
  return 2 * kLanes * (p.fft_size + p.channels * bins_of(p));
}

Complex complex_at(const float* re, const float* im, size_t at) { return {re[at], im[at]}; }

FUSION_SIMD_CLONES void transform(const AudioParams& p, const AudioTables& tables, float* re,
                                  float* im) {
  for (int32_t stage = 0; stage < p.fft_bits; ++stage) {
    for (size_t index = 0; index < static_cast<size_t>(p.fft_size) / 2; ++index) {
      const ButterflyPlace at = butterfly_place(p, stage, index);
      const Complex twiddle = {tables.twiddles[2 * at.twiddle],
                               tables.twiddles[2 * at.twiddle + 1]};
      float *upper_re = re + at.upper * kLanes, *upper_im = im + at.upper * kLanes;
      const size_t lower = (at.lower - at.upper) * kLanes;
#pragma GCC ivdep
      for (size_t lane = 0; lane < kLanes; ++lane) {
        butterfly(upper_re, upper_im, lane, lower + lane, twiddle);
      }
    }
  }
}

// Lanes past the last frame repeat it: their results are not written.
void load_two(const AudioParams& p, const AudioTables& tables, const float* samples, size_t frame,
              int32_t channel, const Scratch& s) {
  const bool has_second = channel + 1 < p.channels;
  for (uint32_t i = 0; i < static_cast<uint32_t>(p.fft_size); ++i) {
    const size_t to = reversed_bits(i, p.fft_bits) * kLanes;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t shown = std::min(frame + lane, static_cast<size_t>(p.frames) - 1);
      const float* at = samples + (shown * p.hop + i) * p.channels + channel;
      s.re[to + lane] = finite_or_zero(at[0]) * tables.window[i];
      s.im[to + lane] = has_second ? finite_or_zero(at[1]) * tables.window[i] : 0.0f;
    }
  }
}

FUSION_SIMD_CLONES void keep_two(const AudioParams& p, int32_t channel, const Scratch& s) {
  const size_t bins = bins_of(p), mask = static_cast<size_t>(p.fft_size) - 1;
  for (size_t k = 0; k < bins; ++k) {
    const size_t mirror = ((p.fft_size - k) & mask) * kLanes, to = (channel * bins + k) * kLanes;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      Complex first, second;
      split(complex_at(s.re, s.im, k * kLanes + lane), complex_at(s.re, s.im, mirror + lane),
            &first, &second);
      s.spectra_re[to + lane] = first.re;
      s.spectra_im[to + lane] = first.im;
      if (channel + 1 >= p.channels) continue;
      s.spectra_re[to + bins * kLanes + lane] = second.re;
      s.spectra_im[to + bins * kLanes + lane] = second.im;
    }
  }
}

FUSION_SIMD_CLONES void band_energy(const float* re, const float* im, const float* weights,
                                    size_t count, float* energy) {
  for (size_t k = 0; k < count; ++k) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float r = re[k * kLanes + lane], i = im[k * kLanes + lane];
      energy[lane] += weights[k] * (r * r + i * i);
    }
  }
}

void write_mel(const AudioParams& p, const AudioTables& tables, const Scratch& s, size_t frame,
               float* mel) {
  const size_t count = std::min(kLanes, p.frames - frame);
  for (int32_t row = 0; row < p.channels * p.bands; ++row) {
    const int32_t* band = tables.bands + 3 * (row % p.bands);
    const size_t first = ((row / p.bands) * bins_of(p) + band[0]) * kLanes;
    float energy[kLanes] = {};
    band_energy(s.spectra_re + first, s.spectra_im + first, tables.band_weights + band[2], band[1],
                energy);
    for (float& value : energy) value = log_energy(value);
    std::copy_n(energy, count, mel + static_cast<size_t>(row) * p.frames + frame);
  }
}

FUSION_SIMD_CLONES void load_phases(const AudioParams& p, const int32_t* pair, bool has_second,
                                    const Scratch& s) {
  const size_t bins = bins_of(p), mask = static_cast<size_t>(p.fft_size) - 1;
  for (size_t k = 0; k < bins; ++k) {
    const size_t to = reversed_bits(static_cast<uint32_t>(k), p.fft_bits) * kLanes;
    const size_t back =
        reversed_bits(static_cast<uint32_t>((p.fft_size - k) & mask), p.fft_bits) * kLanes;
    const size_t a = (pair[0] * bins + k) * kLanes, b = (pair[1] * bins + k) * kLanes;
    const size_t c = has_second ? (pair[2] * bins + k) * kLanes : a;
    const size_t d = has_second ? (pair[3] * bins + k) * kLanes : b;
    Complex at[kLanes], mirrored[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const Complex g1 = phase_between(complex_at(s.spectra_re, s.spectra_im, a + lane),
                                       complex_at(s.spectra_re, s.spectra_im, b + lane));
      const Complex g2 = phase_between(complex_at(s.spectra_re, s.spectra_im, c + lane),
                                       complex_at(s.spectra_re, s.spectra_im, d + lane));
      pack_conjugate(g1, g2, &at[lane], &mirrored[lane]);
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
      s.re[back + lane] = mirrored[lane].re;
      s.im[back + lane] = mirrored[lane].im;
      s.re[to + lane] = at[lane].re;
      s.im[to + lane] = at[lane].im;
    }
  }
}

void write_delays(const AudioParams& p, const Scratch& s, size_t frame, bool has_second,
                  float* gcc) {
  const size_t count = std::min(kLanes, p.frames - frame);
  const float scale = 1.0f / static_cast<float>(p.fft_size);
  float* second = gcc + static_cast<size_t>(p.frames) * p.lags;
  for (size_t lane = 0; lane < count; ++lane) {
    for (int32_t column = 0; column < p.lags; ++column) {
      const size_t at = lag_place(p, column) * kLanes + lane;
      const size_t to = (frame + lane) * p.lags + column;
      gcc[to] = s.re[at] * scale;
      if (has_second) second[to] = -s.im[at] * scale;
    }
  }
}

void frames_from(const AudioParams& p, const AudioTables& tables, const float* samples,
                 size_t frame, const Scratch& s, float* mel, float* gcc) {
  for (int32_t channel = 0; channel < p.channels; channel += 2) {
    load_two(p, tables, samples, frame, channel, s);
    transform(p, tables, s.re, s.im);
    keep_two(p, channel, s);
  }
  write_mel(p, tables, s, frame, mel);
  const int32_t pair_count = p.channels * (p.channels - 1) / 2;
  for (int32_t pair = 0; pair < pair_count; pair += 2) {
    const bool has_second = pair + 1 < pair_count;
    load_phases(p, tables.pairs + 2 * pair, has_second, s);
    transform(p, tables, s.re, s.im);
    write_delays(p, s, frame, has_second, gcc + static_cast<size_t>(pair) * p.frames * p.lags);
  }
}

void audio_features(Floats<2> samples, Floats<1> window, Floats<2> twiddles, Integers<2> bands,
                    Floats<1> band_weights, Integers<2> pairs, Bytes params_bytes,
                    MutableFloats<1> scratch, MutableFloats<3> mel, MutableFloats<3> gcc) {
  const AudioParams p = struct_from_bytes<AudioParams>(params_bytes);
  require(p.channels >= 1 && p.channels <= kMaxChannels && p.fft_size <= kMaxFft, "params");
  const size_t size = p.fft_size, frames = p.frames, pair_count = p.channels * (p.channels - 1) / 2;
  require(samples.shape(0) == size + (frames - 1) * p.hop, "samples");
  require(samples.shape(1) == static_cast<size_t>(p.channels), "samples");
  require(window.size() == size && twiddles.size() == size, "window or twiddles");
  require(bands.shape(0) == static_cast<size_t>(p.bands) && bands.shape(1) == 3, "bands");
  require(pairs.shape(0) == pair_count && pairs.shape(1) == 2, "pairs");
  require(scratch.size() == scratch_floats(p), "scratch");
  require(mel.size() == p.channels * p.bands * frames, "mel");
  require(gcc.size() == pair_count * frames * p.lags, "gcc");
  nb::gil_scoped_release unlocked;
  float* at = scratch.data();
  const size_t work = size * kLanes, spectra = p.channels * bins_of(p) * kLanes;
  const Scratch s = {at, at + work, at + 2 * work, at + 2 * work + spectra};
  const AudioTables tables = {window.data(), twiddles.data(), bands.data(), band_weights.data(),
                              pairs.data()};
  for (size_t frame = 0; frame < frames; frame += kLanes) {
    frames_from(p, tables, samples.data(), frame, s, mel.data(), gcc.data());
  }
}

}  // namespace

void bind_audio_features(nb::module_& m) {
  m.def("audio_features", &audio_features, nb::arg("samples"), nb::arg("window"),
        nb::arg("twiddles"), nb::arg("bands"), nb::arg("band_weights"), nb::arg("pairs"),
        nb::arg("params"), nb::arg("scratch"), nb::arg("mel"), nb::arg("gcc"));
}
