// Lets the host's compiler build kernels/all.cu: blocks and threads become loops. Kernels that share
// memory between threads run with one thread per block, which they allow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>

struct Dim3 {
  unsigned x, y, z;
};
static Dim3 threadIdx, blockIdx, blockDim;
static float memory[1 << 18];

#define __global__
#define __device__
#define __shared__
#define __syncthreads()
#define atomicAdd(at, value) (*(at) += (value))

template <class T>
T taken(const uint8_t*& at, const uint8_t* start) {
  const size_t misplaced = static_cast<size_t>(at - start) % alignof(T);
  if (misplaced) at += alignof(T) - misplaced;
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

// Arguments packed as struct.pack does and as a launch takes them: each at its own alignment.
template <class... Arguments>
void launch(void (*kernel)(Arguments...), Dim3 grid, Dim3 block, const uint8_t* packed) {
  const uint8_t* at = packed;
  const std::tuple<Arguments...> arguments{taken<Arguments>(at, packed)...};
  blockDim = block;
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
      for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
        for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x) std::apply(kernel, arguments);
}

#define EMULATED(kernel)                                                                   \
  extern "C" void emulated_##kernel(unsigned gx, unsigned gy, unsigned bx, unsigned by,    \
                                    const uint8_t* packed) {                               \
    launch(kernel, {gx, gy, 1}, {bx, by, 1}, packed);                                      \
  }
