// CUDA C++ on a processor: enough of it to run the kernels of senumpy/engines/cupy/kernels one thread at a time.
//
// A block's threads are fibers of one processor thread. Each runs until it waits at __syncthreads(); then all
// run on from there, in another order than before: a kernel that lacks a barrier gives another result.
#pragma once
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <utility>

using std::exp;
using std::fma;
using std::log;
using std::sqrt;
using std::tanh;

struct Dim3 { unsigned x, y, z; };
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ static

namespace emulation {

constexpr size_t STACK = 64 * 1024;
constexpr unsigned MOST_THREADS = 1024;

struct Fiber { jmp_buf state; ucontext_t start; char* stack; bool begun, done; Dim3 index; };

static Fiber fibers[MOST_THREADS];
static jmp_buf scheduler;
static ucontext_t scheduler_context;
static Fiber* running;
static void (*body)(void**);
static void** arguments;
static bool cooperative;
static unsigned phase;

// A fiber's life: one thread of a block after the other. Making a fiber costs more than most kernels.
static void enter() {
  for (;;) {
    body(arguments);
    running->done = true;
    if (!_setjmp(running->state)) _longjmp(scheduler, 1);
  }
}

inline void barrier() {
  if (!cooperative) { std::fprintf(stderr, "barrier in a kernel said to have none\n"); std::abort(); }
  if (!_setjmp(running->state)) _longjmp(scheduler, 1);
}

// Let a fiber run until it waits or ends.
static void resume(Fiber* fiber) {
  running = fiber;
  threadIdx = fiber->index;
  if (_setjmp(scheduler)) return;
  if (fiber->begun) _longjmp(fiber->state, 1);
  fiber->begun = true;
  setcontext(&fiber->start);
}

static void run_block(unsigned threads) {
  for (unsigned t = 0; t < threads; ++t) {
    Fiber* fiber = &fibers[t];
    fiber->done = false;
    fiber->index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    if (fiber->stack) continue;
    fiber->stack = static_cast<char*>(std::malloc(STACK));
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack;
    fiber->start.uc_stack.ss_size = STACK;
    fiber->start.uc_link = &scheduler_context;
    makecontext(&fiber->start, enter, 0);
  }
  for (unsigned left = threads; left;) {
    unsigned ended = 0;
    const bool backwards = ++phase & 1;
    for (unsigned k = 0; k < threads; ++k) {
      Fiber* fiber = &fibers[backwards ? threads - 1 - k : k];
      if (fiber->done) continue;
      resume(fiber);
      ended += fiber->done;
    }
    // On a GPU a barrier that some threads never reach is undefined.
    if (ended && ended != left) { std::fprintf(stderr, "some threads ended before a barrier\n"); std::abort(); }
    left -= ended;
  }
}

template <class... A, size_t... I>
inline void call(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
  kernel(*static_cast<A*>(values[I])...);
}

template <class... A>
inline void call(void (*kernel)(A...), void** values) {
  call(kernel, values, std::index_sequence_for<A...>{});
}

static void launch(void (*kernel)(void**), bool has_barriers, const unsigned* grid, const unsigned* block,
                   void** values) {
  body = kernel;
  arguments = values;
  cooperative = has_barriers;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        if (cooperative) { run_block(threads); continue; }
        for (unsigned t = 0; t < threads; ++t) {
          threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
          kernel(values);
        }
      }
}

// What a kernel wants of its arguments: one letter each. p: pointer, i: 4-byte integer, l: 8-byte integer,
// f: float, d: double.
template <class T> constexpr char letter() {
  if constexpr (std::is_pointer_v<T>) return 'p';
  else if constexpr (std::is_same_v<T, float>) return 'f';
  else if constexpr (std::is_same_v<T, double>) return 'd';
  else return sizeof(T) == 8 ? 'l' : sizeof(T) == 4 ? 'i' : '?';
}

template <class... A> inline const char* letters(void (*)(A...)) {
  static const char text[] = {letter<A>()..., 0};
  return text;
}

}  // namespace emulation

inline void __syncthreads() { emulation::barrier(); }
template <class T> inline T __ldg(const T* address) { return *address; }
inline float __fmul_rn(float a, float b) { volatile float c = a * b; return c; }
inline float __fadd_rn(float a, float b) { volatile float c = a + b; return c; }
