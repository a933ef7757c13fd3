// Rows shared among threads so that sums over them do not depend on how many threads there are.

#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>

namespace {

// Calls f(row, sum) for all rows, in groups, `parts` of them; `sum` is the group's row of parts x channels in `sums`,
// which starts as zeros, or null if that is.
template <class F>
void for_rows_in_parts(int64_t rows, int64_t parts, int64_t channels, float* sums, const F& f) {
  torch::stable::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      float* const sum = sums ? sums + part * channels : nullptr;
      if (sum) std::fill_n(sum, channels, 0.f);
      for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; ++row) f(row, sum);
    }
  });
}

}  // namespace
