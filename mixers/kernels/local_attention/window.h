// One head of one window: what is gathered, computed and differentiated there.

#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "products.h"
#include "vectors.h"

namespace {

using torch::stable::Tensor;

struct Call {
  int64_t batch, rows, columns, heads, width;  // width: channels of a head
  int64_t block, halo, shift;
  double scale;

  int64_t window() const { return block + 2 * halo; }
  // First row and column of the first block, 0 or less: the shift cuts it.
  int64_t origin() const { return shift - (shift ? block : 0); }
  int64_t blocks(int64_t size) const { return (size - origin() + block - 1) / block; }
};

// A map B, H, W, heads, d, or B, H, W, heads; channels are contiguous.
template <class T>
struct Map {
  T* data;
  int64_t image, row, column, head;

  explicit Map(const Tensor& tensor)
      : data(static_cast<T*>(tensor.mutable_data_ptr())),
        image(tensor.stride(0)),
        row(tensor.stride(1)),
        column(tensor.stride(2)),
        head(tensor.stride(3)) {}
};

// What is added to the scores; null where absent.
template <class A>
struct Logits {
  const A* bias;          // heads, keys of a window, queries of a block
  const A* row_table;     // 2 window - 1, d: by the key's place in the window minus the query's in the block
  const A* column_table;
};

// The pixels of a block or window along one axis: the first on the map, how many are, and the place of the first.
struct Span {
  int64_t first, count, place;

  Span() = default;
  Span(int64_t start, int64_t length, int64_t size)
      : first(std::max<int64_t>(start, 0)), count(std::min(start + length, size) - first), place(first - start) {}
};

// One head of one window, gathered, and what is computed from it. Buffers named `_across` have queries (or places in a
// table) along a row; the others have channels along a row.
template <class A>
struct Window {
  const Call& call;
  const Logits<A>& logits;
  const int64_t queries_row, width, table_row;  // lengths of rows, whole numbers of vectors

  // Of the relative logits along one axis.
  struct Axis {
    std::vector<A> table, table_across;
    std::vector<A> logits;         // queries x places, of the forward pass
    std::vector<A> logits_across;  // places x queries; in the backward pass, their gradients
    std::vector<A> grad_table;
  } rows, columns;

  int64_t image, head, queries, keys;
  Span query_rows, query_columns, key_rows, key_columns;
  std::vector<A> q, q_across, k, v, bias, scores, largest, norms, output;
  std::vector<A> grad_across, grad_scores, grad_q, grad_k, grad_v;

  Window(const Call& call, const Logits<A>& logits, bool for_gradients)
      : call(call),
        logits(logits),
        queries_row(padded<A>(call.block * call.block)),
        width(padded<A>(call.width)),
        table_row(padded<A>(call.window())),
        head(-1) {
    const int64_t most_keys = call.window() * call.window(), most_queries = call.block * call.block;
    for (auto* buffer : {&q, &output, &grad_q}) buffer->resize(most_queries * width);
    for (auto* buffer : {&k, &v}) buffer->resize(most_keys * width);
    for (auto* buffer : {&q_across, &grad_across}) buffer->resize(call.width * queries_row);
    for (auto* buffer : {&largest, &norms}) buffer->resize(queries_row);
    scores.resize(most_keys * queries_row);
    if (for_gradients) {
      for (auto* buffer : {&grad_k, &grad_v}) buffer->resize(most_keys * width);
      grad_scores.resize(scores.size());
    }
    if (logits.row_table) {
      prepare(rows, logits.row_table);
      prepare(columns, logits.column_table);
    }
  }

  void prepare(Axis& axis, const A* table) {
    const int64_t places = 2 * call.window() - 1, row = places + table_row;
    axis.table.resize(places * width);
    axis.table_across.resize(call.width * row);
    for (int64_t p = 0; p < places; ++p) {
      for (int64_t d = 0; d < call.width; ++d)
        axis.table[p * width + d] = axis.table_across[d * row + p] = table[p * call.width + d];
    }
    axis.logits.resize(call.block * call.block * table_row);
    axis.logits_across.resize(call.window() * queries_row);
    axis.grad_table.resize(axis.table.size());
  }

  // Places the window around block (i, j).
  void place(int64_t at_image, int64_t at_head, int64_t i, int64_t j) {
    image = at_image;
    head = at_head;
    const int64_t top = call.origin() + i * call.block, left = call.origin() + j * call.block;
    query_rows = Span(top, call.block, call.rows);
    query_columns = Span(left, call.block, call.columns);
    key_rows = Span(top - call.halo, call.window(), call.rows);
    key_columns = Span(left - call.halo, call.window(), call.columns);
    queries = query_rows.count * query_columns.count;
    keys = key_rows.count * key_columns.count;
  }

  // Calls f(first channel of a pixel, its number) for the queries, and for the keys.
  template <class T, class F>
  void for_pixels(const Map<T>& map, const Span& rows, const Span& columns, const F& f) const {
    T* const corner = map.data + image * map.image + head * map.head;
    for (int64_t r = 0; r < rows.count; ++r) {
      T* pixel = corner + (rows.first + r) * map.row + columns.first * map.column;
      for (int64_t c = 0; c < columns.count; ++c, pixel += map.column) f(pixel, r * columns.count + c);
    }
  }
  template <class T, class F>
  void for_queries(const Map<T>& map, const F& f) const {
    for_pixels(map, query_rows, query_columns, f);
  }
  template <class T, class F>
  void for_keys(const Map<T>& map, const F& f) const {
    for_pixels(map, key_rows, key_columns, f);
  }

  template <class T>
  void read(const Map<T>& query, const Map<T>& key, const Map<T>& value) {
    const auto into = [&](std::vector<A>& buffer) {
      return [&](const T* pixel, int64_t n) {
        for (int64_t d = 0; d < call.width; ++d) buffer[n * width + d] = A(pixel[d]);
      };
    };
    for_queries(query, into(q));
    for_keys(key, into(k));
    for_keys(value, into(v));
    turn(q, A(call.scale), q_across);
  }

  // Queries x channels -> channels x queries, scaled.
  void turn(const std::vector<A>& from, A scale, std::vector<A>& to) const {
    for (int64_t p = 0; p < queries; ++p)
      for (int64_t d = 0; d < call.width; ++d) to[d * queries_row + p] = from[p * width + d] * scale;
  }

  // keys x queries: scaled products, and what is added to them.
  void score() {
    if (logits.row_table) {
      add_relative_logits();
    } else {
      std::fill_n(scores.begin(), keys * queries_row, A(0));
    }
    if (logits.bias) {
      for_bias([&](int64_t place, int64_t number, int64_t count) {
        for (int64_t p = 0; p < count; ++p) scores[number + p] += logits.bias[place + p];
      });
    }
    add_product<A>(keys, queries_row, call.width, k.data(), width, 1, q_across.data(), queries_row, scores.data(),
                   queries_row);
  }

  // Calls f(number in the bias, number in `scores`, count) for runs of queries that are neighbours in both.
  template <class F>
  void for_bias(const F& f) const {
    const int64_t window = call.window(), squares = call.block * call.block;
    const bool whole = query_columns.count == call.block;
    const int64_t runs = whole ? 1 : query_rows.count, run = whole ? queries : query_columns.count;
    for (int64_t n = 0; n < keys; ++n) {
      const int64_t row = key_rows.place + n / key_columns.count, column = key_columns.place + n % key_columns.count;
      const int64_t of_key = ((head * window + row) * window + column) * squares;
      for (int64_t r = 0; r < runs; ++r)
        f(of_key + (query_rows.place + r) * call.block + query_columns.place, n * queries_row + r * run, run);
    }
  }

  // Calls f(first query, queries from one to the next, count, entry of the table for their first key, keys) for each
  // row (or column) of queries: these share the entries that they meet.
  template <class F>
  void for_lines(const Axis& axis, const F& f) const {
    const bool along_rows = &axis == &rows;
    const Span &lines = along_rows ? query_rows : query_columns, &others = along_rows ? query_columns : query_rows;
    const Span& seen = along_rows ? key_rows : key_columns;
    const int64_t line = query_columns.count;
    for (int64_t l = 0; l < lines.count; ++l)
      f(along_rows ? l * line : l, along_rows ? 1 : line, others.count,
        seen.place - (lines.place + l) + call.window() - 1, seen.count);
  }

  void add_relative_logits() {
    for (Axis* axis : {&rows, &columns}) {
      std::fill(axis->logits.begin(), axis->logits.end(), A(0));
      const int64_t row = 2 * call.window() - 1 + table_row;
      for_lines(*axis, [&](int64_t first, int64_t step, int64_t count, int64_t entry, int64_t seen) {
        add_product<A>(count, padded<A>(seen), call.width, &q[first * width], step * width, 1,
                       &axis->table_across[entry], row, &axis->logits[first * table_row], step * table_row);
      });
      for (int64_t p = 0; p < queries; ++p)
        for (int64_t n = 0; n < call.window(); ++n)
          axis->logits_across[n * queries_row + p] = axis->logits[p * table_row + n];
    }
    for_scores([&](int64_t row, int64_t column, int64_t number) {
      vector_at(&scores[number]) = vector_at(&rows.logits_across[row]) + vector_at(&columns.logits_across[column]);
    });
  }

  // Calls f(number of the key's row and of its column in `logits_across`, number in `scores`) for each vector.
  template <class F>
  void for_scores(const F& f) const {
    for (int64_t n = 0; n < keys; ++n) {
      const int64_t row = n / key_columns.count * queries_row, column = n % key_columns.count * queries_row;
      for (int64_t p = 0; p < queries_row; p += lanes<A>) f(row + p, column + p, n * queries_row + p);
    }
  }

  // scores -> e^(score - largest) and their sums, for each query.
  void softmax() {
    for (int64_t p = 0; p < queries_row; p += lanes<A>) {
      Vector<A> most = vector_at(&scores[p]), sum = {};
      for (int64_t n = 1; n < keys; ++n) {
        const Vector<A>& score = vector_at(&scores[n * queries_row + p]);
        most = score > most ? score : most;
      }
      for (int64_t n = 0; n < keys; ++n) {
        Vector<A>& share = vector_at(&scores[n * queries_row + p]);
        share = exp_of<A>(share - most);
        sum += share;
      }
      vector_at(&largest[p]) = most;
      vector_at(&norms[p]) = sum;
    }
  }

  void sum_values() {
    std::fill(output.begin(), output.end(), A(0));
    add_product<A>(queries, width, keys, scores.data(), 1, queries_row, v.data(), width, output.data(), width);
  }

  // From the output's gradient: grad_scores, grad_q, grad_v, and grad_k before it is scaled. `scores` become shares.
  template <class T>
  void differentiate(const Map<T>& grad, const Map<A>& log_sums) {
    for_queries(grad, [&](const T* pixel, int64_t p) {
      for (int64_t d = 0; d < call.width; ++d) output[p * width + d] = A(pixel[d]);
    });
    for_queries(log_sums, [&](const A* pixel, int64_t p) { largest[p] = *pixel; });
    turn(output, A(1), grad_across);
    std::fill_n(grad_scores.begin(), keys * queries_row, A(0));
    add_product<A>(keys, queries_row, call.width, v.data(), width, 1, grad_across.data(), queries_row,
                   grad_scores.data(), queries_row);
    for (int64_t p = 0; p < queries_row; p += lanes<A>) {
      Vector<A> mean = {};
      for (int64_t n = 0; n < keys; ++n) {
        Vector<A>& share = vector_at(&scores[n * queries_row + p]);
        share = exp_of<A>(share - vector_at(&largest[p]));
        mean += share * vector_at(&grad_scores[n * queries_row + p]);
      }
      for (int64_t n = 0; n < keys; ++n) {
        Vector<A>& of_score = vector_at(&grad_scores[n * queries_row + p]);
        of_score = vector_at(&scores[n * queries_row + p]) * (of_score - mean);
      }
    }
    std::fill(grad_v.begin(), grad_v.end(), A(0));
    std::fill(grad_k.begin(), grad_k.end(), A(0));
    std::fill(grad_q.begin(), grad_q.end(), A(0));
    add_product<A>(keys, width, queries, scores.data(), queries_row, 1, output.data(), width, grad_v.data(), width);
    add_product<A>(keys, width, queries, grad_scores.data(), queries_row, 1, q.data(), width, grad_k.data(), width);
    add_product<A>(queries, width, keys, grad_scores.data(), 1, queries_row, k.data(), width, grad_q.data(), width);
    for (A& number : grad_q) number *= A(call.scale);
  }

  // Adds to grad_q, and to the gradients of the tables.
  void differentiate_relative_logits() {
    for (Axis* axis : {&rows, &columns}) std::fill(axis->logits_across.begin(), axis->logits_across.end(), A(0));
    for_scores([&](int64_t row, int64_t column, int64_t number) {
      vector_at(&rows.logits_across[row]) += vector_at(&grad_scores[number]);
      vector_at(&columns.logits_across[column]) += vector_at(&grad_scores[number]);
    });
    for (Axis* axis : {&rows, &columns}) {
      for_lines(*axis, [&](int64_t first, int64_t step, int64_t count, int64_t entry, int64_t seen) {
        const A* const of_logits = &axis->logits_across[first];
        add_product<A>(seen, width, count, of_logits, queries_row, step, &q[first * width], step * width,
                       &axis->grad_table[entry * width], width);
        add_product<A>(count, width, seen, of_logits, step, queries_row, &axis->table[entry * width], width,
                       &grad_q[first * width], step * width);
      });
    }
  }
};

}  // namespace
