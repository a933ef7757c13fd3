// DCNv3 on NVIDIA GPUs, forward and backward; geometry.py has the formula, reference.py the same in PyTorch.
//
// A row is one output pixel and group. Its channels are spread over neighbouring threads, its lanes, each of which holds
// a vector of up to 16 bytes of them: a corner of a sampling point is then one vector load a lane, and the row's offsets
// and weights, which all its lanes want at the same time, are one transaction. Sums are in float32 registers.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <type_traits>

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int threads = 256;

struct Call {
  int64_t rows;
  int map_rows, map_columns, out_rows, out_columns, groups, width, points;
  int kernel_size, stride, start, dilation, centre, remove_centre;  // start: of the first kernel's centre, in pixels
  float scale;
  int lanes;  // of a row: a power of two, at most a warp

  __device__ int64_t channels() const { return int64_t(groups) * width; }
};

template <class T, int size>
struct alignas(sizeof(T) * size) Vector {
  T at[size];
};

template <int size, class T>
__device__ const Vector<T, size>& load(const T* from) {
  return *reinterpret_cast<const Vector<T, size>*>(from);
}

// What a thread works on.
struct Row {
  int64_t index;
  bool exists;
  int lane;
  int64_t map;  // element of `value`: the group's first channel at the first pixel of the image
  float x, y;   // of the kernel's centre in the map
};

__device__ Row row_of_thread(const Call& call) {
  const int64_t thread = int64_t(blockIdx.x) * threads + threadIdx.x;
  Row row;
  row.lane = int(thread % call.lanes);
  row.exists = thread / call.lanes < call.rows;
  row.index = row.exists ? thread / call.lanes : 0;  // a thread beyond the last row goes along with its warp
  const int64_t pixel = row.index / call.groups, line = pixel / call.out_columns;
  const int group = int(row.index - pixel * call.groups), column = int(pixel - line * call.out_columns);
  const int64_t image = line / call.out_rows;
  row.map = image * call.map_rows * call.map_columns * call.channels() + int64_t(group) * call.width;
  row.x = float(column * call.stride + call.start);
  row.y = float(int(line - image * call.out_rows) * call.stride + call.start);
  return row;
}

// A sampling point: its weight, its distances from the pixel north-west of it, and which of the four pixels around it
// are in the map.
struct Point {
  float weight, near_x, near_y;
  bool west, east, north, south;
  int64_t northwest;  // element of `value`, as Row::map

  __device__ bool inside(int corner) const { return (corner & 2 ? south : north) && (corner & 1 ? east : west); }
  __device__ float share_x(int corner) const { return corner & 1 ? near_x : 1 - near_x; }
  __device__ float share_y(int corner) const { return corner & 2 ? near_y : 1 - near_y; }
  __device__ int64_t element(int corner, const Call& call) const {
    return northwest + (corner & 1) * call.channels() + (corner >> 1) * call.map_columns * call.channels();
  }
};

template <class S>
__device__ Point point_of(const Call& call, const Row& row, int p, const S* offsets, const S* weights) {
  const int64_t index = row.index * call.points + p;
  const Vector<S, 2> offset = load<2>(offsets + 2 * index);
  const int middle = call.kernel_size * call.kernel_size / 2;
  const int place = p + (call.remove_centre && p >= middle);
  const int step_x = place / call.kernel_size * call.dilation - call.centre;
  const int step_y = place % call.kernel_size * call.dilation - call.centre;
  const float x = row.x + (float(step_x) + float(offset.at[0])) * call.scale;
  const float y = row.y + (float(step_y) + float(offset.at[1])) * call.scale;
  // False for a position that is not a number; what cannot be an int is not made one.
  const bool meets = row.exists && x > -1 && x < call.map_columns && y > -1 && y < call.map_rows;
  const float left = meets ? floorf(x) : 0, top = meets ? floorf(y) : 0;
  const int column = int(left), line = int(top);
  Point point;
  point.weight = float(weights[index]);
  point.near_x = meets ? x - left : 0;
  point.near_y = meets ? y - top : 0;
  point.west = meets && column >= 0;
  point.east = meets && column + 1 < call.map_columns;
  point.north = meets && line >= 0;
  point.south = meets && line + 1 < call.map_rows;
  point.northwest = row.map + (int64_t(line) * call.map_columns + column) * call.channels();
  return point;
}

template <class T, class S, int size>
__global__ void __launch_bounds__(threads)
    forward(const Call call, T* __restrict__ output, const T* __restrict__ value, const S* __restrict__ offsets,
            const S* __restrict__ weights) {
  const Row row = row_of_thread(call);
  for (int c = row.lane * size; c < call.width; c += call.lanes * size) {
    float sum[size] = {};
    for (int p = 0; p < call.points; ++p) {
      const Point point = point_of(call, row, p, offsets, weights);
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        if (!point.inside(corner)) continue;
        const float share = point.weight * point.share_y(corner) * point.share_x(corner);
        const Vector<T, size> sample = load<size>(value + point.element(corner, call) + c);
#pragma unroll
        for (int i = 0; i < size; ++i) sum[i] += share * float(sample.at[i]);
      }
    }
    Vector<T, size> rounded;
#pragma unroll
    for (int i = 0; i < size; ++i) rounded.at[i] = T(sum[i]);
    if (row.exists) *reinterpret_cast<Vector<T, size>*>(output + row.index * call.width + c) = rounded;
  }
}

// Adds share * grad to `size` neighbouring sums: float32, or with a factor int64 of contributions times it, which come
// out the same in any order.
template <int size>
__device__ void accumulate(void* sums, int64_t element, float share, const float (&grad)[size], const float* factor) {
  auto* const integers = static_cast<unsigned long long*>(sums) + element;
  auto* const floats = static_cast<float*>(sums) + element;
#if __CUDA_ARCH__ >= 900
  constexpr int together = size % 4 == 0 ? 4 : 1;
#else
  constexpr int together = 1;
#endif
#pragma unroll
  for (int i = 0; i < size; i += together) {
    if (factor) {
#pragma unroll
      for (int j = i; j < i + together; ++j)
        atomicAdd(integers + j, static_cast<unsigned long long>(__float2ll_rn(share * grad[j] * *factor)));
    } else if constexpr (together == 4) {
      atomicAdd(reinterpret_cast<float4*>(floats + i),
                make_float4(share * grad[i], share * grad[i + 1], share * grad[i + 2], share * grad[i + 3]));
    } else {
      atomicAdd(floats + i, share * grad[i]);
    }
  }
}

__device__ float sum_over_lanes(float x, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}

template <class T, class S, int size>
__global__ void __launch_bounds__(threads)
    backward(const Call call, void* __restrict__ grad_value, S* __restrict__ grad_offsets,
             S* __restrict__ grad_weights, const T* __restrict__ grad, const T* __restrict__ value,
             const S* __restrict__ offsets, const S* __restrict__ weights, const float* __restrict__ factor) {
  const Row row = row_of_thread(call);
  for (int p = 0; p < call.points; ++p) {
    const Point point = point_of(call, row, p, offsets, weights);
    float likeness[4] = {};  // of each corner and the output's gradient
    for (int c = row.lane * size; c < call.width; c += call.lanes * size) {
      const Vector<T, size> loaded = load<size>(grad + row.index * call.width + c);
      float from[size];
#pragma unroll
      for (int i = 0; i < size; ++i) from[i] = float(loaded.at[i]);
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        if (!point.inside(corner)) continue;
        const int64_t element = point.element(corner, call) + c;
        const Vector<T, size> sample = load<size>(value + element);
#pragma unroll
        for (int i = 0; i < size; ++i) likeness[corner] += from[i] * float(sample.at[i]);
        accumulate<size>(grad_value, element, point.weight * point.share_y(corner) * point.share_x(corner), from, factor);
      }
    }
    float sampled = 0, along_x = 0, along_y = 0;
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) {
      sampled += point.share_y(corner) * point.share_x(corner) * likeness[corner];
      along_x += (corner & 1 ? 1 : -1) * point.share_y(corner) * likeness[corner];
      along_y += (corner & 2 ? 1 : -1) * point.share_x(corner) * likeness[corner];
    }
    sampled = sum_over_lanes(sampled, call.lanes);
    const float slope = point.weight * call.scale;
    along_x = slope * sum_over_lanes(along_x, call.lanes);
    along_y = slope * sum_over_lanes(along_y, call.lanes);
    if (row.exists && row.lane == 0) {
      const int64_t index = row.index * call.points + p;
      grad_weights[index] = S(sampled);
      *reinterpret_cast<Vector<S, 2>*>(grad_offsets + 2 * index) = {S(along_x), S(along_y)};
    }
  }
}

Call call_of(const Tensor& value, const Tensor& weights, int64_t kernel_size, int64_t stride, int64_t padding,
             int64_t dilation, double offset_scale, bool remove_centre) {
  Call call;
  call.rows = weights.size(0) * weights.size(1) * weights.size(2) * weights.size(3);
  call.map_rows = int(value.size(1));
  call.map_columns = int(value.size(2));
  call.out_rows = int(weights.size(1));
  call.out_columns = int(weights.size(2));
  call.groups = int(weights.size(3));
  call.width = int(value.size(3) / weights.size(3));
  call.points = int(weights.size(4));
  call.kernel_size = int(kernel_size);
  call.stride = int(stride);
  call.dilation = int(dilation);
  call.centre = int(dilation * (kernel_size - 1) / 2);
  call.start = call.centre - int(padding);
  call.remove_centre = remove_centre;
  call.scale = float(offset_scale);
  return call;
}

template <class F>
void for_dtypes(const Tensor& value, const Tensor& offsets, const F& f) {
  const ScalarType dtype = value.scalar_type();
  const bool same = offsets.scalar_type() == dtype;
  if (dtype == ScalarType::Float) return f(float(), float());
  if (dtype == ScalarType::Half) return same ? f(__half(), __half()) : f(__half(), float());
  STD_TORCH_CHECK(dtype == ScalarType::BFloat16, "dcnv3.cu has no code for this dtype");
  return same ? f(__nv_bfloat16(), __nv_bfloat16()) : f(__nv_bfloat16(), float());
}

// Calls f(constant, blocks) with the channels of a vector, and sets the lanes of a row.
template <class T, class F>
void for_vectors(Call& call, const F& f) {
  constexpr int widest = 16 / sizeof(T);
  const int size = call.width % widest == 0 ? widest : call.width % 2 == 0 ? 2 : 1;
  call.lanes = 1;
  while (call.lanes < 32 && call.lanes * size < call.width) call.lanes *= 2;
  const int64_t blocks = (call.rows * call.lanes + threads - 1) / threads;
  STD_TORCH_CHECK(blocks <= INT32_MAX, "dcnv3: more output pixels than a CUDA grid holds");
  if (size == widest) f(std::integral_constant<int, widest>(), unsigned(blocks));
  if (size == 2) f(std::integral_constant<int, 2>(), unsigned(blocks));
  if (size == 1) f(std::integral_constant<int, 1>(), unsigned(blocks));
}

template <class... Parameters, class... Arguments>
void launch(unsigned blocks, int64_t stream, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.stream = reinterpret_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  STD_TORCH_CHECK(error == cudaSuccess, "dcnv3: ", cudaGetErrorString(error));
}

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

void run_forward(Tensor output, const Tensor& value, const Tensor& offsets, const Tensor& weights, int64_t kernel_size,
                 int64_t stride, int64_t padding, int64_t dilation, double offset_scale, bool remove_centre,
                 int64_t stream) {
  Call call = call_of(value, weights, kernel_size, stride, padding, dilation, offset_scale, remove_centre);
  for_dtypes(value, offsets, [&](auto t, auto s) {
    using T = decltype(t);
    using S = decltype(s);
    for_vectors<T>(call, [&](auto size, unsigned blocks) {
      launch(blocks, stream, forward<T, S, size>, call, data<T>(output), data<const T>(value), data<const S>(offsets),
             data<const S>(weights));
    });
  });
}

// With a factor, grad_value is int64 of contributions times it.
void run_backward(Tensor grad_value, Tensor grad_offsets, Tensor grad_weights, const Tensor& grad, const Tensor& value,
                  const Tensor& offsets, const Tensor& weights, const std::optional<Tensor>& factor,
                  int64_t kernel_size, int64_t stride, int64_t padding, int64_t dilation, double offset_scale,
                  bool remove_centre, int64_t stream) {
  Call call = call_of(value, weights, kernel_size, stride, padding, dilation, offset_scale, remove_centre);
  for_dtypes(value, offsets, [&](auto t, auto s) {
    using T = decltype(t);
    using S = decltype(s);
    for_vectors<T>(call, [&](auto size, unsigned blocks) {
      launch(blocks, stream, backward<T, S, size>, call, grad_value.mutable_data_ptr(), data<S>(grad_offsets),
             data<S>(grad_weights), data<const T>(grad), data<const T>(value), data<const S>(offsets),
             data<const S>(weights), factor ? data<const float>(*factor) : nullptr);
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY(stmbench_cuda, library) {
  library.def(
      "dcnv3(Tensor(a!) output, Tensor value, Tensor offsets, Tensor weights, int kernel_size, int stride, "
      "int padding, int dilation, float offset_scale, bool remove_centre, int stream) -> ()");
  library.def(
      "dcnv3_backward(Tensor(a!) grad_value, Tensor(b!) grad_offsets, Tensor(c!) grad_weights, Tensor grad, "
      "Tensor value, Tensor offsets, Tensor weights, Tensor? factor, int kernel_size, int stride, int padding, "
      "int dilation, float offset_scale, bool remove_centre, int stream) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cuda, CUDA, library) {
  library.impl("dcnv3", TORCH_BOX(&run_forward));
  library.impl("dcnv3_backward", TORCH_BOX(&run_backward));
}
