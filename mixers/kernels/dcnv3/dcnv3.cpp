// DCNv3 on the CPU, forward and backward; geometry.py has the formula, reference.py the same in PyTorch.
//
// For each output pixel and group, the sampling points are first turned into the addresses of the four pixels around
// each of them and the shares of these (Points), once for all channels of the group; the loops over channels then are
// plain multiply-adds over contiguous memory, which the compiler vectorises.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "arithmetic.h"

namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct Call {
  int64_t batch, rows, columns, out_rows, out_columns, groups, width, points;
  int64_t stride, start;  // of the output's rows and columns in the value map, in pixels
  double scale;
  std::vector<double> steps;  // (x, y) of the points from the centre, in pixels before scaling

  int64_t channels() const { return groups * width; }
};

// The sampling points of one output pixel and group that meet the map.
template <class T>
struct Points {
  using A = Arithmetic<T>;
  struct Point {
    const T* corner[4];  // north-west, north-east, south-west, south-east; `nothing` outside of the map
    A weight, near_x, near_y;
    int64_t index;

    // Of the corners in the weighted sample.
    std::array<A, 4> shares() const {
      const A south = weight * near_y, north = weight - south;
      const A southeast = south * near_x, northeast = north * near_x;
      return {north - northeast, northeast, south - southeast, southeast};
    }
  };
  std::vector<Point> kept;
  std::vector<A> steps;
  std::vector<T> nothing;
  int64_t count = 0;

  explicit Points(const Call& call)
      : kept(call.points), steps(call.steps.begin(), call.steps.end()), nothing(call.width, T(0.0f)) {}

  // `map` is the group's first channel at the first pixel of its image.
  template <class S>
  void place(const Call& call, const T* map, int64_t row, int64_t column, const S* offsets, const S* weights) {
    const A first_x = A(column * call.stride + call.start), first_y = A(row * call.stride + call.start);
    const A scale = A(call.scale), columns = A(call.columns), rows = A(call.rows);
    const int64_t pixel = call.channels(), line = call.columns * pixel;
    count = 0;
    for (int64_t p = 0; p < call.points; ++p) {
      const A x = first_x + (steps[2 * p] + A(offsets[2 * p])) * scale;
      const A y = first_y + (steps[2 * p + 1] + A(offsets[2 * p + 1])) * scale;
      if (!(x > -1 && x < columns && y > -1 && y < rows)) continue;  // false for a position that is not a number
      const A left = std::floor(x), top = std::floor(y);
      const int64_t column0 = int64_t(left), row0 = int64_t(top);
      const T* corner = map + row0 * line + column0 * pixel;
      Point& point = kept[count++];
      point.weight = A(weights[p]);
      point.near_x = x - left;
      point.near_y = y - top;
      point.index = p;
      point.corner[0] = corner;
      point.corner[1] = corner + pixel;
      point.corner[2] = corner + line;
      point.corner[3] = corner + line + pixel;
      if (column0 >= 0 && column0 + 1 < call.columns && row0 >= 0 && row0 + 1 < call.rows) continue;
      const bool west = column0 >= 0, east = column0 + 1 < call.columns;
      const bool north = row0 >= 0, south = row0 + 1 < call.rows;
      if (!(north && west)) point.corner[0] = nothing.data();
      if (!(north && east)) point.corner[1] = nothing.data();
      if (!(south && west)) point.corner[2] = nothing.data();
      if (!(south && east)) point.corner[3] = nothing.data();
    }
  }
};

// Numbers that are computed together: GCC and Clang make SIMD instructions of it, of whatever width there is.
template <class A, int size>
struct VectorOf {
  typedef A type __attribute__((vector_size(size * sizeof(A))));
};
template <class A, int size>
using Vector = typename VectorOf<A, size>::type;

template <int size, class T>
Vector<Arithmetic<T>, size> load(const T* from) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    Vector<uint16_t, size> upper_halves;
    std::memcpy(&upper_halves, from, sizeof upper_halves);
    return (Vector<float, size>)(__builtin_convertvector(upper_halves, Vector<uint32_t, size>) << 16);
  } else {
    Vector<T, size> numbers;
    std::memcpy(&numbers, from, sizeof numbers);
    return numbers;
  }
}

template <int size, class T>
void store(T* to, Vector<Arithmetic<T>, size> numbers) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    using Bits = Vector<uint32_t, size>;
    const Bits bits = (Bits)numbers;
    const Bits to_nearest_even = bits + 0x7fff + ((bits >> 16) & 1);
    const Bits rounded = (Bits)(numbers == numbers) ? to_nearest_even : bits | 0x400000;  // rounding breaks no NaN
    const auto upper_halves = __builtin_convertvector(rounded >> 16, Vector<uint16_t, size>);
    std::memcpy(to, &upper_halves, sizeof upper_halves);
  } else {
    std::memcpy(to, &numbers, sizeof numbers);
  }
}

// The sums of four vectors. Once they are of four lanes, they are turned, and the lanes are added as vectors.
template <int size, class A>
Vector<A, 4> sums_of(const Vector<A, size> (&four)[4]) {
  if constexpr (size < 4) {
    Vector<A, 4> sums = {};
    for (int n = 0; n < size; ++n) sums += Vector<A, 4>{four[0][n], four[1][n], four[2][n], four[3][n]};
    return sums;
  } else if constexpr (size == 4) {
    const auto low = [](auto a, auto b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); };
    const auto high = [](auto a, auto b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); };
    const Vector<A, 4> first = low(four[0], four[1]) + high(four[0], four[1]);    // sums of two lanes: 0, 1, 0, 1
    const Vector<A, 4> second = low(four[2], four[3]) + high(four[2], four[3]);  // 2, 3, 2, 3
    return __builtin_shufflevector(first, second, 0, 1, 4, 5) + __builtin_shufflevector(first, second, 2, 3, 6, 7);
  } else {
    Vector<A, size / 2> sums[4];
    for (int n = 0; n < 4; ++n) {
      Vector<A, size / 2> halves[2];
      std::memcpy(halves, &four[n], sizeof halves);
      sums[n] = halves[0] + halves[1];
    }
    return sums_of<size / 2, A>(sums);
  }
}

#ifdef __AVX512F__
constexpr int register_floats = 16;
#else
constexpr int register_floats = 8;  // GCC spills longer vectors between points
#endif

// Calls f(first channel, constant) for blocks of `size` channels of a group, and of half as many for what is left, and
// so on: loops over a block have a fixed length.
template <int size, class F>
void for_blocks(int64_t width, const F& f, int64_t c = 0) {
  for (; c + size <= width; c += size) f(c, std::integral_constant<int, size>());
  if constexpr (size > 1) for_blocks<size / 2>(width, f, c);
}

template <class T, class S>
void forward(const Call& call, T* output, const T* value, const S* offsets, const S* weights) {
  using A = Arithmetic<T>;
  const int64_t image = call.rows * call.columns * call.channels();
  torch::stable::parallel_for(0, call.batch * call.out_rows, 1, [&](int64_t begin, int64_t end) {
    Points<T> points(call);
    for (int64_t line = begin; line < end; ++line) {
      for (int64_t column = 0; column < call.out_columns; ++column) {
        for (int64_t group = 0; group < call.groups; ++group) {
          const int64_t place = (line * call.out_columns + column) * call.groups + group;
          points.place(call, value + line / call.out_rows * image + group * call.width, line % call.out_rows, column,
                       offsets + place * call.points * 2, weights + place * call.points);
          T* const to = output + place * call.width;
          for_blocks<register_floats>(call.width, [&](int64_t c, auto block) {
            constexpr int size = block;
            Vector<A, size> sum = {};
            for (int64_t k = 0; k < points.count; ++k) {
              const auto& point = points.kept[k];
              const std::array<A, 4> shares = point.shares();
              const auto weighted = [&](int corner) { return shares[corner] * load<size>(point.corner[corner] + c); };
              sum += (weighted(0) + weighted(1)) + (weighted(2) + weighted(3));
            }
            store<size>(to + c, sum);
          });
        }
      }
    }
  });
}

// One task is a group of an image: what it adds to the value's gradient no other task touches, so the sums need no
// locks and come out the same for any number of threads.
template <class T, class S>
void backward(const Call& call, Arithmetic<T>* grad_value, S* grad_offsets, S* grad_weights, const T* grad,
              const T* value, const S* offsets, const S* weights) {
  using A = Arithmetic<T>;
  torch::stable::parallel_for(0, call.batch * call.groups, 1, [&](int64_t begin, int64_t end) {
    Points<T> points(call);
    std::vector<A> discarded(call.width);
    std::vector<Vector<A, 4>> likeness(call.points);  // of each corner and the output's gradient
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / call.groups, group = task % call.groups;
      const T* const map = value + image * call.rows * call.columns * call.channels() + group * call.width;
      for (int64_t row = 0; row < call.out_rows; ++row) {
        for (int64_t column = 0; column < call.out_columns; ++column) {
          const int64_t place =
              ((image * call.out_rows + row) * call.out_columns + column) * call.groups + group;
          points.place(call, map, row, column, offsets + place * call.points * 2, weights + place * call.points);
          for (int64_t k = 0; k < points.count; ++k) likeness[k] = Vector<A, 4>{};
          // Longer than a register where need be: there are half as many sums over a vector then.
          for_blocks<16>(call.width, [&](int64_t c, auto block) {
            constexpr int size = block;
            const Vector<A, size> from = load<size>(grad + place * call.width + c);
            for (int64_t k = 0; k < points.count; ++k) {
              const auto& point = points.kept[k];
              const std::array<A, 4> shares = point.shares();
              Vector<A, size> products[4];
              for (int corner = 0; corner < 4; ++corner) {
                const T* const pixel = point.corner[corner];
                const bool outside = pixel == points.nothing.data();
                A* const to = (outside ? discarded.data() : grad_value + (pixel - value)) + c;
                const A share = shares[corner];
                products[corner] = from * load<size>(pixel + c);
                store<size>(to, load<size>(to) + share * from);
              }
              likeness[k] += sums_of<size, A>(products);
            }
          });
          S* const to_offsets = grad_offsets + place * call.points * 2;
          S* const to_weights = grad_weights + place * call.points;
          std::fill_n(to_offsets, call.points * 2, S(0.0f));
          std::fill_n(to_weights, call.points, S(0.0f));
          for (int64_t k = 0; k < points.count; ++k) {
            const auto& point = points.kept[k];
            const A northwest = likeness[k][0], northeast = likeness[k][1];
            const A southwest = likeness[k][2], southeast = likeness[k][3];
            const A north = northwest + (northeast - northwest) * point.near_x;
            const A south = southwest + (southeast - southwest) * point.near_x;
            const A across = (northeast - northwest) * (1 - point.near_y) + (southeast - southwest) * point.near_y;
            const A slope = point.weight * A(call.scale);
            to_weights[point.index] = S(north + (south - north) * point.near_y);
            to_offsets[2 * point.index] = S(slope * across);
            to_offsets[2 * point.index + 1] = S(slope * (south - north));
          }
        }
      }
    }
  });
}

Call call_of(const Tensor& value, const Tensor& weights, int64_t kernel_size, int64_t stride, int64_t padding,
             int64_t dilation, double offset_scale, bool remove_centre) {
  const int64_t centre = dilation * (kernel_size - 1) / 2;
  Call call{value.size(0), value.size(1), value.size(2), weights.size(1), weights.size(2), weights.size(3),
            value.size(3) / weights.size(3), weights.size(4), stride, centre - padding, offset_scale, {}};
  for (int64_t p = 0; p < kernel_size * kernel_size; ++p) {
    if (remove_centre && p == kernel_size * kernel_size / 2) continue;
    call.steps.push_back(double(p / kernel_size * dilation - centre));
    call.steps.push_back(double(p % kernel_size * dilation - centre));
  }
  return call;
}

// Calls f with the element types of value and of offsets and weights.
template <class F>
void for_dtypes(const Tensor& value, const Tensor& offsets, const F& f) {
  const ScalarType dtype = value.scalar_type(), offsets_dtype = offsets.scalar_type();
  if (dtype == ScalarType::Float && offsets_dtype == dtype) return f(float(), float());
  if (dtype == ScalarType::Double && offsets_dtype == dtype) return f(double(), double());
  if (dtype == ScalarType::BFloat16 && offsets_dtype == dtype) return f(BFloat16(), BFloat16());
  if (dtype == ScalarType::BFloat16 && offsets_dtype == ScalarType::Float) return f(BFloat16(), float());
  STD_TORCH_CHECK(false, "dcnv3.cpp has no code for these dtypes");
}

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

void run_forward(Tensor output, const Tensor& value, const Tensor& offsets, const Tensor& weights, int64_t kernel_size,
                 int64_t stride, int64_t padding, int64_t dilation, double offset_scale, bool remove_centre) {
  const Call call = call_of(value, weights, kernel_size, stride, padding, dilation, offset_scale, remove_centre);
  for_dtypes(value, offsets, [&](auto t, auto s) {
    using T = decltype(t);
    using S = decltype(s);
    forward(call, data<T>(output), data<const T>(value), data<const S>(offsets), data<const S>(weights));
  });
}

void run_backward(Tensor grad_value, Tensor grad_offsets, Tensor grad_weights, const Tensor& grad, const Tensor& value,
                  const Tensor& offsets, const Tensor& weights, int64_t kernel_size, int64_t stride, int64_t padding,
                  int64_t dilation, double offset_scale, bool remove_centre) {
  const Call call = call_of(value, weights, kernel_size, stride, padding, dilation, offset_scale, remove_centre);
  for_dtypes(value, offsets, [&](auto t, auto s) {
    using T = decltype(t);
    using S = decltype(s);
    backward(call, data<Arithmetic<T>>(grad_value), data<S>(grad_offsets), data<S>(grad_weights), data<const T>(grad),
             data<const T>(value), data<const S>(offsets), data<const S>(weights));
  });
}

}  // namespace

STABLE_TORCH_LIBRARY(stmbench_cpp, library) {
  library.def(
      "dcnv3(Tensor(a!) output, Tensor value, Tensor offsets, Tensor weights, int kernel_size, int stride, "
      "int padding, int dilation, float offset_scale, bool remove_centre) -> ()");
  library.def(
      "dcnv3_backward(Tensor(a!) grad_value, Tensor(b!) grad_offsets, Tensor(c!) grad_weights, Tensor grad, "
      "Tensor value, Tensor offsets, Tensor weights, int kernel_size, int stride, int padding, int dilation, "
      "float offset_scale, bool remove_centre) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("dcnv3", TORCH_BOX(&run_forward));
  library.impl("dcnv3_backward", TORCH_BOX(&run_backward));
}
