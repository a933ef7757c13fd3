// Depth-wise convolution of channels-last maps on the CPU, forward and backward, with kernels shared by all images or of
// each image's own.
//
// The unit of work is one vector of channels of one image. A band of its rows is gathered with zeros around it; from
// there on, a vector of pixels is loaded once for all outputs of a row that it adds to, and these stay in registers.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "vectors.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Outputs of a row that are computed together, and the most rows of a band.
constexpr int tile = 7, wide_tile = vector_registers == 32 ? 14 : 7, band_rows = 16;

struct Sizes {
  int64_t batch, rows, columns, channels;
  int64_t kernels;  // 1, or one for each image

  int64_t vectors(int64_t lanes) const { return (channels + lanes - 1) / lanes; }
  int64_t bands() const { return (rows + band_rows - 1) / band_rows; }
  int64_t band() const { return (rows + bands() - 1) / bands(); }
};

// Calls f<T>(first column) for tiles that cover the columns, the last one more than that.
template <class F>
void for_tiles(int64_t columns, const F& f) {
  int64_t column = 0;
  for (; column + wide_tile <= columns; column += wide_tile) f.template operator()<wide_tile>(column);
  for (; column < columns; column += tile) f.template operator()<tile>(column);
}

// One vector of channels of an image: where it is, and bands of its rows inside zeros.
template <class A, int K>
struct Lane {
  static constexpr int radius = K / 2, L = lanes<A>;
  const Sizes& sizes;
  const int64_t row_length;  // of a band, in numbers
  int64_t image, first, count;  // channels

  explicit Lane(const Sizes& sizes)
      : sizes(sizes), row_length(((sizes.columns + tile - 1) / tile * tile + K - 1) * L) {}

  void place(int64_t task) {
    image = task / sizes.vectors(L);
    first = task % sizes.vectors(L) * L;
    count = std::min<int64_t>(L, sizes.channels - first);
  }

  // For all rows that the outputs from `start` to `end` touch.
  std::vector<A> buffer() const { return std::vector<A>((sizes.band() + K - 1) * row_length); }

  A* pixels(A* map, int64_t row) const {
    return map + ((image * sizes.rows + row) * sizes.columns) * sizes.channels + first;
  }
  const A* pixels(const A* map, int64_t row) const { return pixels(const_cast<A*>(map), row); }

  Vector<A> load(const A* place) const {
    if (count == L) return vector_at(place);
    Vector<A> vector = {};
    for (int64_t c = 0; c < count; ++c) vector[c] = place[c];
    return vector;
  }
  void store(A* place, const Vector<A>& vector) const {
    if (count == L) {
      vector_at(place) = vector;
    } else {
      for (int64_t c = 0; c < count; ++c) place[c] = vector[c];
    }
  }

  // Rows start - radius to end + radius of a map. The columns around the map stay zero.
  void gather(const A* map, int64_t start, int64_t end, std::vector<A>& band) const {
    for (int64_t row = start - radius; row < end + radius; ++row) {
      A* to = band.data() + (row - start + radius) * row_length + radius * L;
      if (row < 0 || row >= sizes.rows) {
        std::fill_n(to, sizes.columns * L, A(0));
        continue;
      }
      const A* from = pixels(map, row);
      for (int64_t column = 0; column < sizes.columns; ++column, from += sizes.channels, to += L)
        vector_at(to) = load(from);
    }
  }

  void gather_kernel(const A* kernels, Vector<A>* taps) const {
    const A* kernel = kernels + (sizes.kernels > 1 ? image : 0) * K * K * sizes.channels + first;
    for (int tap = 0; tap < K * K; ++tap) taps[tap] = load(kernel + tap * sizes.channels);
  }

  // The map `output` from `start` to `end`: correlates the band with the taps.
  void correlate(const std::vector<A>& band, const Vector<A>* taps, const Vector<A>& bias, int64_t start, int64_t end,
                 A* output) const {
    for (int64_t row = start; row < end; ++row) {
      const A* rows = band.data() + (row - start) * row_length;
      A* to = pixels(output, row);
      for_tiles(sizes.columns, [&]<int T>(int64_t column) {
        Vector<A> sums[T];
#pragma GCC unroll 16
        for (int t = 0; t < T; ++t) sums[t] = bias;
        for (int y = 0; y < K; ++y) {
          const A* pixel = rows + y * row_length + column * L;
          Vector<A> line[K];
#pragma GCC unroll 16
          for (int x = 0; x < K; ++x) line[x] = taps[y * K + x];
#pragma GCC unroll 32
          for (int p = 0; p < T + K - 1; ++p) {
            const Vector<A> value = vector_at(pixel + p * L);
#pragma GCC unroll 16
            for (int x = 0; x < K; ++x)
              if (p - x >= 0 && p - x < T) sums[p - x] += value * line[x];
          }
        }
        const int64_t present = std::min<int64_t>(T, sizes.columns - column);
        for (int64_t t = 0; t < present; ++t) store(to + (column + t) * sizes.channels, sums[t]);
      });
    }
  }

  // Adds to `taps` each pixel of `band` times the pixel of `grad` that it has been weighted for.
  void add_products(const std::vector<A>& band, const std::vector<A>& grad, int64_t rows, Vector<A>* taps) const {
    for (int y = 0; y < K; ++y) {
      Vector<A> sums[K];
      for (int x = 0; x < K; ++x) sums[x] = taps[y * K + x];
      for (int64_t row = 0; row < rows; ++row) {
        const A* values = band.data() + (row + y) * row_length;
        const A* weights = grad.data() + (row + radius) * row_length + radius * L;
        for (int64_t column = 0; column < sizes.columns; column += tile) {
          // What lies behind the last column is zero in `grad`, up to the end of its row, or meets nothing.
          Vector<A> weight[tile];
#pragma GCC unroll 16
          for (int t = 0; t < tile; ++t) weight[t] = vector_at(weights + (column + t) * L);
#pragma GCC unroll 32
          for (int p = 0; p < tile + K - 1; ++p) {
            const Vector<A> value = vector_at(values + (column + p) * L);
#pragma GCC unroll 16
            for (int x = 0; x < K; ++x)
              if (p - x >= 0 && p - x < tile) sums[x] += value * weight[p - x];
          }
        }
      }
      for (int x = 0; x < K; ++x) taps[y * K + x] = sums[x];
    }
  }

  Vector<A> sum(const std::vector<A>& band, int64_t rows) const {
    Vector<A> total = {};
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < sizes.columns; ++column)
        total += vector_at(band.data() + (row + radius) * row_length + (column + radius) * L);
    return total;
  }
};

template <class A, int K>
void forward(const Sizes& sizes, A* output, const A* x, const A* kernels, const A* bias) {
  constexpr int L = lanes<A>;
  torch::stable::parallel_for(0, sizes.batch * sizes.vectors(L), 1, [&](int64_t begin, int64_t end) {
    Lane<A, K> lane(sizes);
    std::vector<A> band = lane.buffer();
    Vector<A> taps[K * K];
    for (int64_t task = begin; task < end; ++task) {
      lane.place(task);
      lane.gather_kernel(kernels, taps);
      const Vector<A> first = bias ? lane.load(bias + lane.first) : Vector<A>{};
      for (int64_t start = 0; start < sizes.rows; start += sizes.band()) {
        const int64_t stop = std::min(start + sizes.band(), sizes.rows);
        lane.gather(x, start, stop, band);
        lane.correlate(band, taps, first, start, stop, output);
      }
    }
  });
}

// Gradients of kernels and bias come for each image; whoever calls adds them up.
template <class A, int K>
void backward(const Sizes& sizes, A* grad_x, A* grad_kernels, A* grad_bias, const A* grad, const A* x,
              const A* kernels) {
  constexpr int L = lanes<A>;
  torch::stable::parallel_for(0, sizes.batch * sizes.vectors(L), 1, [&](int64_t begin, int64_t end) {
    Lane<A, K> lane(sizes);
    std::vector<A> band = lane.buffer(), grad_band = lane.buffer();
    Vector<A> taps[K * K], grad_taps[K * K];
    for (int64_t task = begin; task < end; ++task) {
      lane.place(task);
      lane.gather_kernel(kernels, taps);
      std::reverse(taps, taps + K * K);
      std::fill_n(grad_taps, K * K, Vector<A>{});
      Vector<A> total = {};
      for (int64_t start = 0; start < sizes.rows; start += sizes.band()) {
        const int64_t stop = std::min(start + sizes.band(), sizes.rows);
        lane.gather(grad, start, stop, grad_band);
        lane.correlate(grad_band, taps, Vector<A>{}, start, stop, grad_x);
        lane.gather(x, start, stop, band);
        lane.add_products(band, grad_band, stop - start, grad_taps);
        total += lane.sum(grad_band, stop - start);
      }
      A* const kernel = grad_kernels + lane.image * K * K * sizes.channels + lane.first;
      for (int tap = 0; tap < K * K; ++tap) lane.store(kernel + tap * sizes.channels, grad_taps[tap]);
      lane.store(grad_bias + lane.image * sizes.channels + lane.first, total);
    }
  });
}

// Calls f<element type, kernel size>().
template <class F>
void specialised(const Tensor& x, const Tensor& kernels, const F& f) {
  const auto sized = [&]<class A>() {
    switch (kernels.size(1)) {
      case 9: return f.template operator()<A, 3>();
      case 25: return f.template operator()<A, 5>();
      case 49: return f.template operator()<A, 7>();
    }
    STD_TORCH_CHECK(false, "depthwise.cpp has no code for this kernel size");
  };
  if (x.scalar_type() == ScalarType::Float) return sized.template operator()<float>();
  if (x.scalar_type() == ScalarType::Double) return sized.template operator()<double>();
  STD_TORCH_CHECK(false, "depthwise.cpp has no code for this dtype");
}

template <class A>
A* data(const Tensor& tensor) {
  return static_cast<A*>(tensor.mutable_data_ptr());
}

Sizes sizes_of(const Tensor& x, const Tensor& kernels) {
  return {x.size(0), x.size(1), x.size(2), x.size(3), kernels.size(0)};
}

void run_forward(Tensor output, const Tensor& x, const Tensor& kernels, const std::optional<Tensor>& bias) {
  specialised(x, kernels, [&]<class A, int K>() {
    forward<A, K>(sizes_of(x, kernels), data<A>(output), data<A>(x), data<A>(kernels), bias ? data<A>(*bias) : nullptr);
  });
}

void run_backward(Tensor grad_x, Tensor grad_kernels, Tensor grad_bias, const Tensor& grad, const Tensor& x,
                  const Tensor& kernels) {
  specialised(x, kernels, [&]<class A, int K>() {
    backward<A, K>(sizes_of(x, kernels), data<A>(grad_x), data<A>(grad_kernels), data<A>(grad_bias), data<A>(grad),
                   data<A>(x), data<A>(kernels));
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def("depthwise(Tensor(a!) output, Tensor x, Tensor kernels, Tensor? bias) -> ()");
  library.def(
      "depthwise_backward(Tensor(a!) grad_x, Tensor(b!) grad_kernels, Tensor(c!) grad_bias, Tensor grad, Tensor x, "
      "Tensor kernels) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("depthwise", TORCH_BOX(&run_forward));
  library.impl("depthwise_backward", TORCH_BOX(&run_backward));
}
