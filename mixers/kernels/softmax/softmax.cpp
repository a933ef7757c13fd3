// Softmax over a short last axis on the CPU, forward and backward.
//
// As many rows as a vector has lanes are computed together, turned so that each vector holds one place of all of them.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

#include "vectors.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t longest = 64;  // of a row; function.py asks for no more

// Rows that are computed together, one in each lane.
template <class A>
struct Rows {
  static constexpr int L = lanes<A>;
  A numbers[longest * L] = {};

  void read(const A* from, int64_t rows, int64_t length) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < length; ++n) numbers[n * L + r] = from[r * length + n];
  }
  void write(A* to, int64_t rows, int64_t length) const {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < length; ++n) to[r * length + n] = numbers[n * L + r];
  }
  Vector<A>& operator[](int64_t place) { return vector_at(numbers + place * L); }
};

// Calls f(first number, rows) for groups of rows, and on several threads.
template <class A, class F>
void for_groups(const Tensor& x, const F& f) {
  constexpr int L = lanes<A>;
  const int64_t length = x.size(x.dim() - 1), rows = length ? x.numel() / length : 0;
  torch::stable::parallel_for(0, (rows + L - 1) / L, 1024, [&](int64_t begin, int64_t end) {
    Rows<A> first, second;
    for (int64_t group = begin; group < end; ++group)
      f(first, second, group * L * length, std::min<int64_t>(L, rows - group * L), length);
  });
}

template <class A>
void forward(A* output, const Tensor& x) {
  const A* const input = static_cast<const A*>(x.const_data_ptr());
  for_groups<A>(x, [&](Rows<A>& row, Rows<A>&, int64_t start, int64_t rows, int64_t length) {
    row.read(input + start, rows, length);
    Vector<A> most = row[0], sum = {};
    for (int64_t n = 1; n < length; ++n) most = row[n] > most ? row[n] : most;
    for (int64_t n = 0; n < length; ++n) sum += row[n] = exp_of<A>(row[n] - most);
    for (int64_t n = 0; n < length; ++n) row[n] /= sum;
    row.write(output + start, rows, length);
  });
}

template <class A>
void backward(A* grad_x, const A* grad, const Tensor& output) {
  const A* const shares = static_cast<const A*>(output.const_data_ptr());
  for_groups<A>(output, [&](Rows<A>& share, Rows<A>& row, int64_t start, int64_t rows, int64_t length) {
    share.read(shares + start, rows, length);
    row.read(grad + start, rows, length);
    Vector<A> mean = {};
    for (int64_t n = 0; n < length; ++n) mean += share[n] * row[n];
    for (int64_t n = 0; n < length; ++n) row[n] = share[n] * (row[n] - mean);
    row.write(grad_x + start, rows, length);
  });
}

// Calls f with the type of the elements.
template <class F>
void for_dtype(const Tensor& tensor, const F& f) {
  if (tensor.scalar_type() == ScalarType::Float) return f(float());
  if (tensor.scalar_type() == ScalarType::Double) return f(double());
  STD_TORCH_CHECK(false, "softmax.cpp has no code for this dtype");
}

void run_forward(Tensor output, const Tensor& x) {
  for_dtype(x, [&](auto a) { forward(static_cast<decltype(a)*>(output.mutable_data_ptr()), x); });
}

void run_backward(Tensor grad_x, const Tensor& grad, const Tensor& output) {
  for_dtype(output, [&](auto a) {
    using A = decltype(a);
    backward(static_cast<A*>(grad_x.mutable_data_ptr()), static_cast<const A*>(grad.const_data_ptr()), output);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def("softmax(Tensor(a!) output, Tensor x) -> ()");
  library.def("softmax_backward(Tensor(a!) grad_x, Tensor grad, Tensor output) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("softmax", TORCH_BOX(&run_forward));
  library.impl("softmax_backward", TORCH_BOX(&run_backward));
}
