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

#include <cmath>
#include <cstdint>
#include <optional>

#include "arithmetic.h"
#include "window.h"

namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

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

// Where gradients go; those of keys and values start as zeros if there is a halo. Those of the logits have an axis of images in front, the tables' one of heads after it.
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
        if (call.halo) {
          window.for_keys(grads.key, [&](A* pixel, int64_t n) {
            for (int64_t d = 0; d < call.width; ++d) pixel[d] += window.grad_k[n * window.width + d] * scale;
          });
          window.for_keys(grads.value, [&](A* pixel, int64_t n) {
            for (int64_t d = 0; d < call.width; ++d) pixel[d] += window.grad_v[n * window.width + d];
          });
        } else {  // no other window has these keys
          window.for_keys(grads.key, [&](A* pixel, int64_t n) {
            for (int64_t d = 0; d < call.width; ++d) pixel[d] = window.grad_k[n * window.width + d] * scale;
          });
          window.for_keys(grads.value, [&](A* pixel, int64_t n) {
            for (int64_t d = 0; d < call.width; ++d) pixel[d] = window.grad_v[n * window.width + d];
          });
        }
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
