// Runs CUDA source on the CPU, to check what it computes where there is no GPU: included before the source, which is
// then compiled as C++. Blocks and warps run one after another; the threads of a warp are threads that meet in shuffles.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>

#define __CUDA_ARCH__ EMULATED_ARCHITECTURE
#define CUDA CPU  // the dispatch key that the source registers for
#define __launch_bounds__(threads)
#define cudaLaunchKernelEx run_on_cpu

inline thread_local uint3 threadIdx, blockIdx;
inline std::barrier meeting(32);
inline float exchanged[32];

inline float __shfl_xor_sync(unsigned, float x, int distance) {
  const unsigned lane = threadIdx.x % 32;
  exchanged[lane] = x;
  meeting.arrive_and_wait();
  const float other = exchanged[lane ^ distance];
  meeting.arrive_and_wait();
  return other;
}

template <class T>
void atomicAdd(T* sum, T x) {
  std::atomic_ref<T>(*sum).fetch_add(x);
}

inline void atomicAdd(float4* sums, float4 x) {
  if (reinterpret_cast<uintptr_t>(sums) % sizeof(float4)) throw std::runtime_error("misaligned float4");
  atomicAdd(&sums->x, x.x);
  atomicAdd(&sums->y, x.y);
  atomicAdd(&sums->z, x.z);
  atomicAdd(&sums->w, x.w);
}

inline long long __float2ll_rn(float x) { return std::llrint(x); }

extern "C" inline const char* cudaGetErrorString(cudaError_t) { return "not a GPU"; }

template <class... Parameters, class... Arguments>
cudaError_t run_on_cpu(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments... arguments) {
  for (unsigned block = 0; block < config->gridDim.x; ++block) {
    for (unsigned warp = 0; warp < config->blockDim.x; warp += 32) {
      std::vector<std::jthread> lanes;
      for (unsigned lane = 0; lane < 32; ++lane) {
        lanes.emplace_back([=] {
          blockIdx.x = block;
          threadIdx.x = warp + lane;
          kernel(arguments...);
        });
      }
    }
  }
  return cudaSuccess;
}
