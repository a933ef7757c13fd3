// x + scale keep branch on the CPU, in float32, forward and backward: a residual connection with the branch's layer
// scale (one factor per channel) and stochastic depth (one factor per image), in one pass over the maps.

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

constexpr int64_t together = 16384;  // numbers that are worth a thread's while

const float* numbers(const Tensor& tensor) { return static_cast<const float*>(tensor.const_data_ptr()); }
const float* numbers(Optional tensor) { return tensor ? numbers(*tensor) : nullptr; }
float* changed_numbers(const Tensor& tensor) { return static_cast<float*>(tensor.mutable_data_ptr()); }

// Factors of channels and images, null for those that are 1.
struct Factors {
  const float *scale, *keep;
  int64_t pixels;  // of an image

  // Those of a vector of channels from `channel` on, at a pixel.
  V at(int64_t pixel, int64_t channel, int count) const {
    const V of_image = V{} + (keep ? keep[pixel / pixels] : 1.f);
    return scale ? of_image * read<float>(scale + channel, count) : of_image;
  }
};

int64_t grain(int64_t channels) { return std::max<int64_t>(together / std::max<int64_t>(channels, 1), 1); }

// Maps are rows x channels, images one after another.
void forward(Tensor output, const Tensor& x, const Tensor& branch, Optional scale, Optional keep) {
  const int64_t rows = x.size(0), channels = x.size(1);
  const Factors factors{numbers(scale), numbers(keep), keep ? rows / keep->numel() : rows};
  float* const to = changed_numbers(output);
  const float *const from = numbers(x), *const added = numbers(branch);
  torch::stable::parallel_for(0, rows, grain(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t start = row * channels;
      for_vectors<float>(channels, [&](int64_t n, int count) {
        const V sum = read<float>(from + start + n, count) +
                      factors.at(row, n, count) * read<float>(added + start + n, count);
        write<float>(to + start + n, sum, count);
      });
    }
  });
}

// The gradient of the branch, and, for that of the scale, its sums over as many groups of rows as `scale_parts` has.
void backward(Tensor grad_branch, Optional scale_parts, const Tensor& grad, const Tensor& branch, Optional scale,
              Optional keep) {
  const int64_t rows = grad.size(0), channels = grad.size(1);
  const int64_t parts = scale_parts ? scale_parts->size(0) : std::max<int64_t>(rows / grain(channels), 1);
  const Factors factors{numbers(scale), numbers(keep), keep ? rows / keep->numel() : rows};
  const Factors of_images{nullptr, factors.keep, factors.pixels};
  float *const to = changed_numbers(grad_branch), *const sums = scale_parts ? changed_numbers(*scale_parts) : nullptr;
  const float *const from = numbers(grad), *const added = numbers(branch);
  for_rows_in_parts(rows, parts, channels, sums, [&](int64_t row, float* sum) {
    const int64_t start = row * channels;
    for_vectors<float>(channels, [&](int64_t n, int count) {
      const V grads = read<float>(from + start + n, count);
      write<float>(to + start + n, factors.at(row, n, count) * grads, count);
      if (!sum) return;
      const V products = of_images.at(row, n, count) * grads * read<float>(added + start + n, count);
      write<float>(sum + n, read<float>(sum + n, count) + products, count);
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def("residual(Tensor(a!) output, Tensor x, Tensor branch, Tensor? scale, Tensor? keep) -> ()");
  library.def(
      "residual_backward(Tensor(a!) grad_branch, Tensor(b!)? scale_parts, Tensor grad, Tensor branch, Tensor? scale, "
      "Tensor? keep) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("residual", TORCH_BOX(&forward));
  library.impl("residual_backward", TORCH_BOX(&backward));
}
