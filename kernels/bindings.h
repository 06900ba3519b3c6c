// What the CPU bindings share. They trust nothing but are not the place for kind messages: those
// are in the typed Python doors, which check first.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstring>
#include <stdexcept>
#include <string>

template <class T, int Dimensions>
using Array =
    nanobind::ndarray<T, nanobind::ndim<Dimensions>, nanobind::c_contig, nanobind::device::cpu>;
template <int Dimensions>
using Floats = Array<const float, Dimensions>;
template <int Dimensions>
using MutableFloats = Array<float, Dimensions>;
template <int Dimensions>
using Integers = Array<const int32_t, Dimensions>;
using Bytes = Array<const uint8_t, 1>;
using MutableBytes = Array<uint8_t, 1>;

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("_kernels: bad shape or size of ") + what);
}

template <class Struct>
Struct struct_from_bytes(const Bytes& bytes) {
  require(bytes.size() == sizeof(Struct), "params");
  Struct value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}
