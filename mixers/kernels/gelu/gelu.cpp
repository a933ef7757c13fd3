// GELU x P(X <= x) of a normal X on the CPU, in float32, forward and backward.
//
// P(X <= x) = (1 + erf(x / sqrt 2)) / 2, and erf(x / sqrt 2) = x p(x^2) / q(x^2) for |x| <= 5.4, beyond which it rounds
// to 1. Coefficients: a least-squares fit of p and q, reweighted until the largest error was least (1.1e-8).

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "parts.h"
#include "vectors.h"

namespace {

using torch::stable::Tensor;
using Optional = const std::optional<Tensor>&;
using V = Vector<float>;

constexpr int64_t together = 2048;  // numbers that are worth a thread's while

inline V erf_of_root_half(V x) {
  constexpr float edge = 5.4f;
  constexpr float p[] = {0.7978844909500403f,    0.06674171716769181f,    0.009301507820693288f,
                         0.00032861205974257774f, 1.2719520419981841e-05f, 4.677370445453108e-08f};
  constexpr float q[] = {1.f,
                         0.2503144281491816f,
                         0.028377869079195886f,
                         0.0018588934386750944f,
                         7.239436455575938e-05f,
                         1.2165752178148069e-06f};
  x = x > edge ? V{} + edge : x;
  x = x < -edge ? V{} - edge : x;
  const V square = x * x;
  V above = V{} + p[5], below = V{} + q[5];
  for (int k = 4; k >= 0; --k) {
    above = above * square + p[k];
    below = below * square + q[k];
  }
  return x * above / below;
}

inline V probability(V x) { return 0.5f + 0.5f * erf_of_root_half(x); }

float* changed(const Tensor& tensor) { return static_cast<float*>(tensor.mutable_data_ptr()); }

void forward(Tensor output, const Tensor& x) {
  float* const to = changed(output);
  const float* const from = static_cast<const float*>(x.const_data_ptr());
  torch::stable::parallel_for(0, x.numel(), together, [&](int64_t begin, int64_t end) {
    for_vectors<float>(end - begin, [&](int64_t n, int count) {
      const V value = read<float>(from + begin + n, count);
      write<float>(to + begin + n, value * probability(value), count);
    });
  });
}

// Maps are rows x channels; grad_x may be grad. Where asked for: the output once more, and the sums of grad_x over as
// many groups of rows as `bias_parts` has.
void backward(Tensor grad_x, Optional output, Optional bias_parts, const Tensor& grad, const Tensor& x) {
  constexpr float density_at_0 = 0.3989422804014327f;
  const int64_t rows = x.size(0), channels = x.size(1);
  const int64_t parts = bias_parts ? bias_parts->size(0) : std::max<int64_t>(x.numel() / together, 1);
  float *const of_x = changed(grad_x), *const to = output ? changed(*output) : nullptr;
  float* const sums = bias_parts ? changed(*bias_parts) : nullptr;
  const float* const from = static_cast<const float*>(x.const_data_ptr());
  const float* const of_output = static_cast<const float*>(grad.const_data_ptr());
  for_rows_in_parts(rows, parts, channels, sums, [&](int64_t row, float* sum) {
    const int64_t start = row * channels;
    for_vectors<float>(channels, [&](int64_t n, int count) {
      const V value = read<float>(from + start + n, count), share = probability(value);
      const V density = density_at_0 * exp_of<float>(value * value * -0.5f);
      const V product = read<float>(of_output + start + n, count) * (share + value * density);
      write<float>(of_x + start + n, product, count);
      if (to) write<float>(to + start + n, value * share, count);
      if (sum) write<float>(sum + n, read<float>(sum + n, count) + product, count);
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def("gelu(Tensor(a!) output, Tensor x) -> ()");
  library.def(
      "gelu_backward(Tensor(a!) grad_x, Tensor(b!)? output, Tensor(c!)? bias_parts, Tensor grad, Tensor x) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("gelu", TORCH_BOX(&forward));
  library.impl("gelu_backward", TORCH_BOX(&backward));
}
