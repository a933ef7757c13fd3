// Small matrix products.

#pragma once

#include <cstdint>

#include "vectors.h"

namespace {

// Of a product that is held in registers: 24 of 32, or 12 of 16.
constexpr int tile_rows = vector_registers == 32 ? 6 : 4, tile_vectors = vector_registers == 32 ? 4 : 3;

// c (rows x vectors) += a b, the sums in registers.
template <class A, int rows, int vectors>
void add_tile(int64_t depth, const A* a, int64_t a_row, int64_t a_column, const A* b, int64_t b_row, A* c,
              int64_t c_row) {
  Vector<A> sums[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors; ++j) sums[i][j] = vector_at(c + i * c_row + j * lanes<A>);
  for (int64_t k = 0; k < depth; ++k) {
    for (int i = 0; i < rows; ++i) {
      const A factor = a[i * a_row + k * a_column];
      for (int j = 0; j < vectors; ++j) sums[i][j] += factor * vector_at(b + k * b_row + j * lanes<A>);
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < vectors; ++j) vector_at(c + i * c_row + j * lanes<A>) = sums[i][j];
}

// The columns in tiles, as many vectors each as possible.
template <class A, int rows, int vectors = tile_vectors>
void add_band(int64_t columns, int64_t depth, const A* a, int64_t a_row, int64_t a_column, const A* b, int64_t b_row,
              A* c, int64_t c_row) {
  constexpr int size = vectors * lanes<A>;
  for (; columns >= size; columns -= size, b += size, c += size)
    add_tile<A, rows, vectors>(depth, a, a_row, a_column, b, b_row, c, c_row);
  if constexpr (vectors > 1) {
    if (columns) add_band<A, rows, vectors - 1>(columns, depth, a, a_row, a_column, b, b_row, c, c_row);
  }
}

// c (m x columns) += a (m x depth, with any strides) b (depth x columns); columns are a multiple of a vector's lanes.
template <class A, int rows = tile_rows>
void add_product(int64_t m, int64_t columns, int64_t depth, const A* a, int64_t a_row, int64_t a_column, const A* b,
                 int64_t b_row, A* c, int64_t c_row) {
  for (; m >= rows; m -= rows, a += rows * a_row, c += rows * c_row)
    add_band<A, rows>(columns, depth, a, a_row, a_column, b, b_row, c, c_row);
  if constexpr (rows > 1) {
    if (m) add_product<A, rows - 1>(m, columns, depth, a, a_row, a_column, b, b_row, c, c_row);
  }
}

}  // namespace
