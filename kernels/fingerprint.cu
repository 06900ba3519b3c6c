// GPU side of fingerprint.cuh: one thread per sampled word, summed into *out (zero it first).
#include "fingerprint.cuh"

extern "C" __global__ void fingerprint(const uint8_t* data, size_t size, size_t words,
                                       unsigned long long* out) {
  const size_t index = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index < words) {
    atomicAdd(out, static_cast<unsigned long long>(
                       fusion_rt::fingerprint_term(data, size, index, words)));
  }
}
