// Vectors as wide as the processor's registers, which GCC and Clang turn into its instructions.

#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

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

// Calls f(place, count) for a row of numbers: count is a vector's lanes, and what is left at the end.
template <class A, class F>
void for_vectors(int64_t numbers, const F& f) {
  int64_t n = 0;
  for (; n + lanes<A> <= numbers; n += lanes<A>) f(n, lanes<A>);
  if (n < numbers) f(n, int(numbers - n));
}
// The first `count` lanes from memory, the others 0.
template <class A>
Vector<A> read(const A* from, int count) {
  if (count == lanes<A>) return vector_at(from);
  Vector<A> numbers = {};
  for (int n = 0; n < count; ++n) numbers[n] = from[n];
  return numbers;
}
// The first `count` lanes to memory.
template <class A>
void write(A* to, const Vector<A>& numbers, int count) {
  if (count == lanes<A>) {
    vector_at(to) = numbers;
  } else {
    for (int n = 0; n < count; ++n) to[n] = numbers[n];
  }
}

// 1 / k!
constexpr auto reciprocal_factorials = [] {
  std::array<double, 14> table = {1};
  for (int k = 1; k < int(table.size()); ++k) table[k] = table[k - 1] / k;
  return table;
}();

// exp of numbers that are not positive: 2^n e^r with |r| <= ln(2) / 2, and e^r by its Taylor series.
template <class A>
[[gnu::always_inline]] inline Vector<A> exp_of(Vector<A> x) {
  constexpr bool single = std::is_same_v<A, float>;
  constexpr int mantissa = single ? 23 : 52, terms = single ? 7 : 13;
  constexpr A log2_e = A(1.4426950408889634), smallest = single ? A(-87) : A(-708);
  constexpr A rounding = single ? A(12582912) : A(6755399441055744);  // adding it leaves no bits for a fraction
  // ln(2) in two parts, the first with so few bits that its product with n is exact.
  constexpr A ln2_high = single ? A(0.693359375) : A(0.6931471803691238);
  constexpr A ln2_low = single ? A(-2.1219444005469057e-4) : A(1.9082149292705877e-10);
  typedef std::conditional_t<single, int32_t, int64_t> Bits __attribute__((vector_size(vector_bytes)));
  const Vector<A> bounded = x < smallest ? Vector<A>{} + smallest : x;
  const Vector<A> n = (bounded * log2_e + rounding) - rounding;
  const Vector<A> r = (bounded - n * ln2_high) - n * ln2_low;
  Vector<A> series = Vector<A>{} + A(reciprocal_factorials[terms]);
#pragma GCC unroll 16
  for (int k = terms - 1; k >= 0; --k) series = series * r + A(reciprocal_factorials[k]);
  return (Vector<A>)((Bits)series + (__builtin_convertvector(n, Bits) << mantissa));
}
