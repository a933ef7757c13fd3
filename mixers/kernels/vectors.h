// Vectors as wide as the processor's registers, which GCC and Clang turn into its instructions.

#pragma once

#include <cstdint>

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, vector_registers = 32;
#else
constexpr int vector_bytes = 32, vector_registers = 16;
#endif

template <class A>
struct VectorOf {
  typedef A type __attribute__((vector_size(vector_bytes), aligned(alignof(A)), may_alias));
};
template <class A>
using Vector = typename VectorOf<A>::type;
template <class A>
constexpr int lanes = vector_bytes / sizeof(A);

// The next multiple of a vector's lanes.
template <class A>
int64_t padded(int64_t count) {
  return (count + lanes<A> - 1) / lanes<A> * lanes<A>;
}
template <class A>
Vector<A>& vector_at(A* place) {
  return *reinterpret_cast<Vector<A>*>(place);
}
template <class A>
const Vector<A>& vector_at(const A* place) {
  return *reinterpret_cast<const Vector<A>*>(place);
}
