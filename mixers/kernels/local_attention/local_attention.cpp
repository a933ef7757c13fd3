// Attention from blocks of pixels to windows around them on the CPU, forward and backward; reference.py is the same in
// PyTorch.
//
// The unit of work is one head of one window: its queries, keys and values are gathered into a few kilobytes, and all
// that follows (products, softmax, gradients) happens there. Windows are clipped to the map, so nothing is padded or
// masked, and scores never reach main memory. Scores lie key by key: queries are the vectorised axis, so sums over keys
// are sums of vectors.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Products, sums and softmax of T are computed in this.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, double>, double, float>;

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

template <class T>
void forward(const Call& call, const Map<T>& output, const Map<Arithmetic<T>>& log_sums, const Map<T>& query,
             const Map<T>& key, const Map<T>& value, const Logits<Arithmetic<T>>& logits) {
  using A = Arithmetic<T>;
  const int64_t lines = call.blocks(call.rows), line = call.blocks(call.columns);
  torch::stable::parallel_for(0, call.batch * lines * call.heads, 1, [&](int64_t begin, int64_t end) {
    Window<A> window(call, logits, false);
    for (int64_t task = begin; task < end; ++task) {
      for (int64_t j = 0; j < line; ++j) {
        window.place(task / call.heads / lines, task % call.heads, task / call.heads % lines, j);
        window.read(query, key, value);
        window.score();
        window.softmax();
        window.sum_values();
        window.for_queries(output, [&](T* pixel, int64_t p) {
          const A share = 1 / window.norms[p];
          for (int64_t d = 0; d < call.width; ++d) pixel[d] = T(window.output[p * window.width + d] * share);
        });
        window.for_queries(log_sums,
                           [&](A* pixel, int64_t p) { *pixel = window.largest[p] + std::log(window.norms[p]); });
      }
    }
  });
}

// Where gradients go. Those of the logits have an axis of images in front, the tables' one of heads after it.
template <class A>
struct Gradients {
  Map<A> query, key, value;
  A *bias, *row_table, *column_table;
};

// One task is a head of an image: what it adds to gradients no other task touches, so sums need no locks and come out
// the same for any number of threads.
template <class T>
void backward(const Call& call, const Gradients<Arithmetic<T>>& grads, const Map<T>& grad,
              const Map<Arithmetic<T>>& log_sums, const Map<T>& query, const Map<T>& key, const Map<T>& value,
              const Logits<Arithmetic<T>>& logits) {
  using A = Arithmetic<T>;
  const int64_t lines = call.blocks(call.rows), line = call.blocks(call.columns);
  const int64_t bias_size = call.heads * call.window() * call.window() * call.block * call.block;
  torch::stable::parallel_for(0, call.batch * call.heads, 1, [&](int64_t begin, int64_t end) {
    Window<A> window(call, logits, true);
    for (int64_t task = begin; task < end; ++task) {
      std::fill(window.rows.grad_table.begin(), window.rows.grad_table.end(), A(0));
      std::fill(window.columns.grad_table.begin(), window.columns.grad_table.end(), A(0));
      for (int64_t block = 0; block < lines * line; ++block) {
        window.place(task / call.heads, task % call.heads, block / line, block % line);
        window.read(query, key, value);
        window.score();
        window.differentiate(grad, log_sums);
        if (logits.row_table) window.differentiate_relative_logits();
        const A scale = A(call.scale);
        window.for_queries(grads.query, [&](A* pixel, int64_t p) {
          for (int64_t d = 0; d < call.width; ++d) pixel[d] = window.grad_q[p * window.width + d];
        });
        window.for_keys(grads.key, [&](A* pixel, int64_t n) {
          for (int64_t d = 0; d < call.width; ++d) pixel[d] += window.grad_k[n * window.width + d] * scale;
        });
        window.for_keys(grads.value, [&](A* pixel, int64_t n) {
          for (int64_t d = 0; d < call.width; ++d) pixel[d] += window.grad_v[n * window.width + d];
        });
        if (logits.bias) {
          A* const of_image = grads.bias + task / call.heads * bias_size;
          window.for_bias([&](int64_t place, int64_t number, int64_t count) {
            for (int64_t p = 0; p < count; ++p) of_image[place + p] += window.grad_scores[number + p];
          });
        }
      }
      if (logits.row_table) {
        const int64_t places = 2 * call.window() - 1;
        for (int64_t n = 0; n < places; ++n) {
          for (int64_t d = 0; d < call.width; ++d) {
            grads.row_table[(task * places + n) * call.width + d] = window.rows.grad_table[n * window.width + d];
            grads.column_table[(task * places + n) * call.width + d] = window.columns.grad_table[n * window.width + d];
          }
        }
      }
    }
  });
}

Call call_of(const Tensor& query, int64_t block_size, int64_t halo_size, int64_t shift) {
  return {query.size(0), query.size(1), query.size(2), query.size(3), query.size(4),
          block_size,    halo_size,     shift,         1 / std::sqrt(double(query.size(4)))};
}

template <class A>
A* data(const std::optional<Tensor>& tensor) {
  return tensor ? static_cast<A*>(tensor->mutable_data_ptr()) : nullptr;
}

// Calls f with the type of the elements.
template <class F>
void for_dtype(const Tensor& tensor, const F& f) {
  if (tensor.scalar_type() == ScalarType::Float) return f(float());
  if (tensor.scalar_type() == ScalarType::Double) return f(double());
  if (tensor.scalar_type() == ScalarType::BFloat16) return f(BFloat16());
  STD_TORCH_CHECK(false, "local_attention.cpp has no code for this dtype");
}

using Optional = const std::optional<Tensor>&;

void run_forward(Tensor output, Tensor log_sums, const Tensor& query, const Tensor& key, const Tensor& value,
                 Optional bias, Optional row_table, Optional column_table, int64_t block_size, int64_t halo_size,
                 int64_t shift) {
  const Call call = call_of(query, block_size, halo_size, shift);
  for_dtype(query, [&](auto t) {
    using T = decltype(t);
    using A = Arithmetic<T>;
    forward<T>(call, Map<T>(output), Map<A>(log_sums), Map<T>(query), Map<T>(key), Map<T>(value),
               {data<const A>(bias), data<const A>(row_table), data<const A>(column_table)});
  });
}

void run_backward(Tensor grad_query, Tensor grad_key, Tensor grad_value, Optional grad_bias, Optional grad_row_table,
                  Optional grad_column_table, const Tensor& grad, const Tensor& log_sums, const Tensor& query,
                  const Tensor& key, const Tensor& value, Optional bias, Optional row_table, Optional column_table,
                  int64_t block_size, int64_t halo_size, int64_t shift) {
  const Call call = call_of(query, block_size, halo_size, shift);
  for_dtype(query, [&](auto t) {
    using T = decltype(t);
    using A = Arithmetic<T>;
    const Gradients<A> grads{Map<A>(grad_query),  Map<A>(grad_key),        Map<A>(grad_value),
                             data<A>(grad_bias), data<A>(grad_row_table), data<A>(grad_column_table)};
    backward<T>(call, grads, Map<T>(grad), Map<A>(log_sums), Map<T>(query), Map<T>(key), Map<T>(value),
                {data<const A>(bias), data<const A>(row_table), data<const A>(column_table)});
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def(
      "local_attention(Tensor(a!) output, Tensor(b!) log_sums, Tensor query, Tensor key, Tensor value, Tensor? bias, "
      "Tensor? row_table, Tensor? column_table, int block_size, int halo_size, int shift) -> ()");
  library.def(
      "local_attention_backward(Tensor(a!) grad_query, Tensor(b!) grad_key, Tensor(c!) grad_value, "
      "Tensor(d!)? grad_bias, Tensor(e!)? grad_row_table, Tensor(f!)? grad_column_table, Tensor grad, "
      "Tensor log_sums, Tensor query, Tensor key, Tensor value, Tensor? bias, Tensor? row_table, "
      "Tensor? column_table, int block_size, int halo_size, int shift) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("local_attention", TORCH_BOX(&run_forward));
  library.impl("local_attention_backward", TORCH_BOX(&run_backward));
}
