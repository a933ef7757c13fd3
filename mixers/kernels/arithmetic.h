// The type that sums, products and positions are computed in where elements are of type T.

#pragma once

#include <type_traits>

template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, double>, double, float>;
