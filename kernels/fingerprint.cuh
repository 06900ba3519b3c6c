// Content fingerprint of a payload: tells a frozen sensor (the same bytes again) from a live one.
//
// Reads 8-byte words spread evenly over the payload, so the cost does not grow with its size. Two
// payloads that differ in a word that is not read compare equal: sensor noise touches every word,
// a stuck buffer none, so this is enough to see "frozen" and is not a checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "portable.cuh"

namespace fusion_rt {

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit moves every output bit.
FUSION_HOST_DEVICE inline uint64_t mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// The word at `index` of `words`, at its even place in `size` bytes; `size` >= 8.
FUSION_HOST_DEVICE inline uint64_t sampled_word(const uint8_t* data, size_t size, size_t index,
                                                size_t words) {
  const size_t last = size - sizeof(uint64_t);
  const size_t at = words > 1 ? (last / (words - 1)) * index : 0;
  uint64_t word;
  memcpy(&word, data + (at < last ? at : last), sizeof(word));
  return word;
}

// What one word adds; the sum over words does not depend on the order of threads.
FUSION_HOST_DEVICE inline uint64_t fingerprint_term(const uint8_t* data, size_t size, size_t index,
                                                    size_t words) {
  return mix64(sampled_word(data, size, index, words) + 0x9e3779b97f4a7c15ULL * (index + 1));
}

}  // namespace fusion_rt
