// The selective scan of channels-last maps on the CPU, forward and backward; paths.py has the four paths, reference.py
// the formula.
//
// A vector of channels of one image walks all four paths, which add to the same outputs. It does so in blocks of steps:
// softplus and exponentials of a block do not wait for each other, and each state's recurrence over the block stays in a
// register. The backward pass walks every path twice: forwards to keep the states before each block, then from the last
// block to the first, computing a block's states again.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int block = 32;  // steps, so that what is kept of them stays in the fastest cache
constexpr int paths = 4;

struct Sizes {
  int64_t batch, rows, columns, channels, states;

  int64_t pixels() const { return rows * columns; }
};

template <class A>
struct Inputs {
  const A *x, *delta, *delta_bias, *a, *b, *c, *d;
};
template <class A>
struct Gradients {
  A *x, *delta, *delta_bias, *a, *b, *c, *d;
};

// A vector for each step of a block, none of them across two lines of the cache.
template <class A>
struct alignas(vector_bytes) OfBlock {
  Vector<A> vectors[block];

  Vector<A>& operator[](int64_t t) { return vectors[t]; }
  const Vector<A>& operator[](int64_t t) const { return vectors[t]; }
};

// Where a path is at each step.
class Order {
 public:
  explicit Order(const Sizes& sizes) : by_columns_(sizes.pixels()) {
    for (int64_t column = 0, step = 0; column < sizes.columns; ++column)
      for (int64_t row = 0; row < sizes.rows; ++row) by_columns_[step++] = row * sizes.columns + column;
  }
  int64_t pixel(int path, int64_t step) const {
    const int64_t forwards = path < 2 ? step : int64_t(by_columns_.size()) - 1 - step;
    return path % 2 ? by_columns_[forwards] : forwards;
  }

 private:
  std::vector<int64_t> by_columns_;
};

// log(1 + e^x). With z = e^-|x|, log(1 + z) is 2 artanh(z / (2 + z)), whose Taylor series has a third at most.
template <class A>
Vector<A> softplus(const Vector<A>& x) {
  constexpr int terms = std::is_same_v<A, float> ? 6 : 16;
  const Vector<A> z = exp_of<A>(x > 0 ? -x : x);
  const Vector<A> w = z / (z + 2), square = w * w;
  Vector<A> series = Vector<A>{} + A(1) / A(2 * terms + 1);
  for (int k = terms - 1; k >= 0; --k) series = series * square + A(1) / A(2 * k + 1);
  return (x > 0 ? x : Vector<A>{}) + 2 * w * series;
}

// The derivative of softplus.
template <class A>
Vector<A> sigmoid(const Vector<A>& x) {
  const Vector<A> z = exp_of<A>(x > 0 ? -x : x);
  return (x > 0 ? Vector<A>{} + 1 : z) / (z + 1);
}

template <class A>
A sum_of(Vector<A> numbers) {
  A lane[lanes<A>];
  vector_at(lane) = numbers;
  for (int width = lanes<A> / 2; width; width /= 2)
    for (int n = 0; n < width; ++n) lane[n] += lane[n + width];
  return lane[0];
}

// A vector of channels of one image, somewhere on a path.
template <class A>
class Walk {
 public:
  Walk(const Sizes& sizes, const Order& order, const Inputs<A>& of)
      : sizes_(sizes), order_(order), of_(of), states_(sizes.states), rates_(sizes.states) {}

  void place(int64_t image, int64_t first_channel, int64_t end_channel) {
    image_ = image;
    first_ = first_channel;
    count_ = int(std::min<int64_t>(lanes<A>, end_channel - first_channel));
  }

  void forward(A* output) {
    for (int path = 0; path < paths; ++path) {
      start(path);
      for (int64_t step = 0; step < sizes_.pixels(); step += block) {
        look(step, step + block);
        OfBlock<A> y;
        for (int t = 0; t < steps_; ++t) y[t] = skip_ * x_[t];
        for (int64_t s = 0; s < sizes_.states; ++s) {
          const A* const reads = of_.c + own_map() * sizes_.states + s;
          recur(s, [&, reads](int t, int64_t at_state, const Vector<A>&, const Vector<A>&, const Vector<A>& state) {
            y[t] += state * reads[at_state];
          });
        }
        for (int t = 0; t < steps_; ++t) add(output + at_pixel(t), y[t]);
      }
    }
  }

  // `sums_task`: which of the rows of `to.b` and `to.c`, which start as zeros, this vector's channels are added to.
  void backward(const Gradients<A>& to, const A* grad, int64_t sums_task) {
    const int64_t sums_start = sums_task * paths * sizes_.batch * sizes_.pixels() * sizes_.states;
    const int64_t blocks = (sizes_.pixels() + block - 1) / block;
    before_.resize(blocks * sizes_.states);
    for (int path = 0; path < paths; ++path) {
      start(path);
      for (int64_t n = 0; n < blocks; ++n) {
        std::copy(states_.begin(), states_.end(), before_.begin() + n * sizes_.states);
        look(n * block, (n + 1) * block);
        for (int64_t s = 0; s < sizes_.states; ++s) recur(s, [](auto&...) {});
      }
      Vector<A> of_bias = {}, of_skip = {};
      std::vector<Vector<A>> of_rates(sizes_.states), of_states(sizes_.states);
      for (int64_t n = blocks - 1; n >= 0; --n) {
        std::copy_n(before_.begin() + n * sizes_.states, sizes_.states, states_.begin());
        look(n * block, (n - 1) * block);
        OfBlock<A> of_y, of_entering = {}, of_step = {};
        for (int t = 0; t < steps_; ++t) of_y[t] = read(grad + at_pixel(t), count_);
        for (int64_t s = 0; s < sizes_.states; ++s) {
          OfBlock<A> decay, kept, state;
          const Vector<A> rate = rates_[s];
          recur(s, [&](int t, int64_t, const Vector<A>& factor, const Vector<A>& left, const Vector<A>& next) {
            decay[t] = factor;
            kept[t] = left;
            state[t] = next;
          });
          Vector<A> of_state = of_states[s], of_rate = of_rates[s];
          for (int t = steps_ - 1; t >= 0; --t) {
            const int64_t place = at_state(t) + s;
            of_state += of_y[t] * of_.c[place];
            to.b[sums_start + place] += sum_of<A>(of_state * entering_[t]);
            to.c[sums_start + place] += sum_of<A>(of_y[t] * state[t]);
            of_entering[t] += of_state * of_.b[place];
            const Vector<A> of_exponent = of_state * kept[t];
            of_step[t] += of_exponent * rate;
            of_rate += of_exponent * step_[t];
            of_state *= decay[t];
          }
          of_states[s] = of_state;
          of_rates[s] = of_rate;
        }
        for (int t = 0; t < steps_; ++t) {
          const Vector<A> of_delta = (of_step[t] + of_entering[t] * x_[t]) * sigmoid<A>(delta_[t]);
          write(to.delta + at_own_pixel(t), of_delta, count_);
          add(to.x + at_pixel(t), skip_ * of_y[t] + of_entering[t] * step_[t]);
          of_bias += of_delta;
          of_skip += of_y[t] * x_[t];
        }
      }
      const int64_t channel = (image_ * paths + path_) * sizes_.channels + first_;
      write(to.delta_bias + channel, of_bias, count_);
      write(to.d + channel, of_skip, count_);
      for (int64_t s = 0; s < sizes_.states; ++s)
        for (int n = 0; n < count_; ++n) to.a[(channel + n) * sizes_.states + s] = of_rates[s][n];
    }
  }

 private:
  // Of the block's step t: the place of its pixel in maps that all paths share, in those of this path's own, and in `b`
  // and `c`.
  int64_t at_pixel(int t) const { return (image_ * sizes_.pixels() + pixel_[t]) * sizes_.channels + first_; }
  int64_t own_map() const { return (path_ * sizes_.batch + image_) * sizes_.pixels(); }
  int64_t own_pixel(int t) const { return own_map() + pixel_[t]; }
  int64_t at_own_pixel(int t) const { return own_pixel(t) * sizes_.channels + first_; }
  int64_t at_state(int t) const { return own_pixel(t) * sizes_.states; }

  void start(int path) {
    path_ = path;
    std::fill(states_.begin(), states_.end(), Vector<A>{});
    const int64_t channel = path * sizes_.channels + first_;
    bias_ = read(of_.delta_bias + channel, count_);
    skip_ = read(of_.d + channel, count_);
    for (int64_t s = 0; s < sizes_.states; ++s)
      for (int n = 0; n < lanes<A>; ++n)
        rates_[s][n] = n < count_ ? of_.a[(channel + n) * sizes_.states + s] : A(0);
  }

  // Everything of a block's steps that depends on no state. Down a column the processor does not foresee where the next
  // block looked at will be, so its memory is asked for here.
  void look(int64_t first_step, int64_t first_of_next) {
    const int64_t pixels = sizes_.pixels(), channels = sizes_.channels;
    const A* const x = of_.x + image_ * pixels * channels + first_;
    const A* const delta = of_.delta + own_map() * channels + first_;
    const Vector<A> bias = bias_;
    const int steps = int(std::min<int64_t>(block, pixels - first_step)), count = count_, path = path_;
    for (int t = 0; t < steps; ++t) {
      const int64_t pixel = order_.pixel(path, first_step + t);
      const int64_t next = order_.pixel(path, std::clamp<int64_t>(first_of_next + t, 0, pixels - 1));
      __builtin_prefetch(delta + next * channels);
      pixel_[t] = pixel;
      x_[t] = read(x + pixel * channels, count);
      delta_[t] = read(delta + pixel * channels, count) + bias;
    }
    for (int t = 0; t < steps; ++t) {
      step_[t] = softplus<A>(delta_[t]);
      entering_[t] = step_[t] * x_[t];
    }
    steps_ = steps;
  }

  // Takes one state through the block and calls f(t, place of the pixel's states in this path's map, factor of the decay,
  // what it left of the state, the next state).
  template <class F>
  void recur(int64_t s, const F& f) {
    // What the loop reads is copied first: for all that the compiler knows, its stores might change the members.
    const Vector<A> rate = rates_[s];
    const A* const enters = of_.b + own_map() * sizes_.states + s;
    const int64_t states = sizes_.states;
    const int steps = steps_;
    Vector<A> state = states_[s];
    for (int t = 0; t < steps; ++t) {
      const int64_t at_state = pixel_[t] * states;
      const Vector<A> factor = exp_of<A>(rate * step_[t]), left = factor * state;
      state = left + entering_[t] * enters[at_state];
      f(t, at_state, factor, left, state);
    }
    states_[s] = state;
  }

  // The first path stores, the others add.
  void add(A* to, const Vector<A>& numbers) const {
    write(to, path_ ? read(to, count_) + numbers : numbers, count_);
  }

  const Sizes& sizes_;
  const Order& order_;
  const Inputs<A>& of_;
  int64_t image_, first_;
  int count_, path_;  // channels; which of the four
  Vector<A> bias_, skip_;
  std::vector<Vector<A>> states_, rates_, before_;
  int steps_;  // of this block
  int64_t pixel_[block];
  OfBlock<A> x_, delta_, step_, entering_;
};

template <class A>
void forward(const Sizes& sizes, A* output, const Inputs<A>& inputs) {
  const Order order(sizes);
  const int64_t vectors = (sizes.channels + lanes<A> - 1) / lanes<A>;
  torch::stable::parallel_for(0, sizes.batch * vectors, 1, [&](int64_t begin, int64_t end) {
    Walk<A> walk(sizes, order, inputs);
    for (int64_t task = begin; task < end; ++task) {
      walk.place(task / vectors, task % vectors * lanes<A>, sizes.channels);
      walk.forward(output);
    }
  });
}

template <class A>
void backward(const Sizes& sizes, const Gradients<A>& to, const A* grad, const Inputs<A>& inputs, int64_t of_task) {
  const Order order(sizes);
  const int64_t tasks = (sizes.channels + of_task - 1) / of_task;
  torch::stable::parallel_for(0, sizes.batch * tasks, 1, [&](int64_t begin, int64_t end) {
    Walk<A> walk(sizes, order, inputs);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % tasks * of_task, last = std::min(first + of_task, sizes.channels);
      for (int64_t channel = first; channel < last; channel += lanes<A>) {
        walk.place(task / tasks, channel, last);
        walk.backward(to, grad, task % tasks);
      }
    }
  });
}

// Calls f with a number of the elements' type.
template <class F>
void for_dtype(const Tensor& x, const F& f) {
  if (x.scalar_type() == ScalarType::Float) return f(float());
  if (x.scalar_type() == ScalarType::Double) return f(double());
  STD_TORCH_CHECK(false, "selective_scan.cpp has no code for this dtype");
}

template <class A>
A* data(const Tensor& tensor) {
  return static_cast<A*>(tensor.mutable_data_ptr());
}

Sizes sizes_of(const Tensor& x, const Tensor& a) { return {x.size(0), x.size(1), x.size(2), x.size(3), a.size(2)}; }

void run_forward(Tensor output, const Tensor& x, const Tensor& delta, const Tensor& delta_bias, const Tensor& a,
                 const Tensor& b, const Tensor& c, const Tensor& d) {
  for_dtype(x, [&](auto number) {
    using A = decltype(number);
    const Inputs<A> inputs{data<A>(x), data<A>(delta), data<A>(delta_bias), data<A>(a),
                           data<A>(b), data<A>(c),     data<A>(d)};
    forward(sizes_of(x, a), data<A>(output), inputs);
  });
}

void run_backward(Tensor grad_x, Tensor grad_delta, Tensor grad_delta_bias, Tensor grad_a, Tensor grad_b,
                  Tensor grad_c, Tensor grad_d, const Tensor& grad, const Tensor& x, const Tensor& delta,
                  const Tensor& delta_bias, const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& d,
                  int64_t channels_of_task) {
  for_dtype(x, [&](auto number) {
    using A = decltype(number);
    const Inputs<A> inputs{data<A>(x), data<A>(delta), data<A>(delta_bias), data<A>(a),
                           data<A>(b), data<A>(c),     data<A>(d)};
    const Gradients<A> to{data<A>(grad_x), data<A>(grad_delta), data<A>(grad_delta_bias), data<A>(grad_a),
                          data<A>(grad_b), data<A>(grad_c),     data<A>(grad_d)};
    backward(sizes_of(x, a), to, data<A>(grad), inputs, channels_of_task);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(stmbench_cpp, library) {
  library.def(
      "selective_scan(Tensor(a!) output, Tensor x, Tensor delta, Tensor delta_bias, Tensor a, Tensor b, Tensor c, "
      "Tensor d) -> ()");
  library.def(
      "selective_scan_backward(Tensor(a!) grad_x, Tensor(b!) grad_delta, Tensor(c!) grad_delta_bias, "
      "Tensor(d!) grad_a, Tensor(e!) grad_b, Tensor(f!) grad_c, Tensor(g!) grad_d, Tensor grad, Tensor x, "
      "Tensor delta, Tensor delta_bias, Tensor a, Tensor b, Tensor c, Tensor d, int channels_of_task) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(stmbench_cpp, CPU, library) {
  library.impl("selective_scan", TORCH_BOX(&run_forward));
  library.impl("selective_scan_backward", TORCH_BOX(&run_backward));
}
