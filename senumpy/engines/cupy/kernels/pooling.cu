// Pools over windows and over whole images. One thread a (pixel, channels) of what is written.

struct alignas(V) Taps {
  unsigned char v[V];
};

struct Place {
  int c, row, col, image;
  long long at;  // in Vec
  bool inside;
};

__device__ __forceinline__ Place place(int vecs, int h, int w, int pixels) {
  const int pixel = blockIdx.x * blockDim.y + threadIdx.y, line = pixel / w;
  Place p;
  p.c = blockIdx.y * blockDim.x + threadIdx.x;
  p.inside = p.c < vecs && pixel < pixels;
  p.col = pixel % w;
  p.row = line % h;
  p.image = line / h;
  p.at = (long long)pixel * vecs + p.c;
  return p;
}

// Where (row, col) of an image lies, in Vec.
__device__ __forceinline__ long long at(const Place& p, int row, int col, int h, int w, int vecs) {
  return ((long long)(p.image * h + row) * w + col) * vecs + p.c;
}

// The maximum of each window and which tap it came from: of equal ones the first; NaN wins.
extern "C" __global__ void __launch_bounds__(THREADS) max_pool(
    const Real* __restrict__ x, int h, int w, int vecs, int out_h, int out_w, int kh, int kw, int sh, int sw,
    int pad_h, int pad_w, int pixels, Real* __restrict__ y, unsigned char* __restrict__ winner) {
  const Place me = place(vecs, out_h, out_w, pixels);
  if (!me.inside) return;
  Vec best = filled(0);
  Taps taps;
  bool first = true;
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int row = me.row * sh + p - pad_h, col = me.col * sw + q - pad_w;
      if (row < 0 || row >= h || col < 0 || col >= w) continue;
      const Vec rival = load(x, at(me, row, col, h, w, vecs));
      for (int j = 0; j < V; ++j)
        if (first || rival.v[j] > best.v[j] || rival.v[j] != rival.v[j]) {
          best.v[j] = rival.v[j];
          taps.v[j] = (unsigned char)(p * kw + q);
        }
      first = false;
    }
  store(y, me.at, best);
  ((Taps*)winner)[me.at] = taps;
}

// An entry collects the gradient of all windows that it won.
extern "C" __global__ void __launch_bounds__(THREADS) max_pool_back(
    const Real* __restrict__ dy, const unsigned char* __restrict__ winner, int h, int w, int vecs, int out_h,
    int out_w, int kh, int kw, int sh, int sw, int pad_h, int pad_w, int pixels, Real* __restrict__ dx) {
  const Place me = place(vecs, h, w, pixels);
  if (!me.inside) return;
  Vec sum = filled(0);
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int i = me.row + pad_h - p, j = me.col + pad_w - q;
      if (i < 0 || j < 0 || i % sh || j % sw || i / sh >= out_h || j / sw >= out_w) continue;
      const long long window = at(me, i / sh, j / sw, out_h, out_w, vecs);
      const Taps taps = ((const Taps*)winner)[window];
      const Vec g = load(dy, window);
      for (int k = 0; k < V; ++k)
        if (taps.v[k] == p * kw + q) sum.v[k] += g.v[k];
    }
  store(dx, me.at, sum);
}

// The mean of each window; `counts` (out_h, out_w) says what its sum is divided by.
extern "C" __global__ void __launch_bounds__(THREADS) avg_pool(
    const Real* __restrict__ x, const Real* __restrict__ counts, int h, int w, int vecs, int out_h, int out_w,
    int kh, int kw, int sh, int sw, int pad_h, int pad_w, int pixels, Real* __restrict__ y) {
  const Place me = place(vecs, out_h, out_w, pixels);
  if (!me.inside) return;
  Vec sum = filled(0);
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int row = me.row * sh + p - pad_h, col = me.col * sw + q - pad_w;
      if (row < 0 || row >= h || col < 0 || col >= w) continue;
      const Vec value = load(x, at(me, row, col, h, w, vecs));
      for (int j = 0; j < V; ++j) sum.v[j] += value.v[j];
    }
  const Real count = counts[me.row * out_w + me.col];
  for (int j = 0; j < V; ++j) sum.v[j] /= count;
  store(y, me.at, sum);
}

extern "C" __global__ void __launch_bounds__(THREADS) avg_pool_back(
    const Real* __restrict__ dy, const Real* __restrict__ counts, int h, int w, int vecs, int out_h, int out_w,
    int kh, int kw, int sh, int sw, int pad_h, int pad_w, int pixels, Real* __restrict__ dx) {
  const Place me = place(vecs, h, w, pixels);
  if (!me.inside) return;
  Vec sum = filled(0);
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int i = me.row + pad_h - p, j = me.col + pad_w - q;
      if (i < 0 || j < 0 || i % sh || j % sw || i / sh >= out_h || j / sw >= out_w) continue;
      const Vec g = load(dy, at(me, i / sh, j / sw, out_h, out_w, vecs));
      const Real count = counts[i / sh * out_w + j / sw];
      for (int k = 0; k < V; ++k) sum.v[k] += g.v[k] / count;
    }
  store(dx, me.at, sum);
}

// The maximum of each image's channels, and the first pixel that has it: one thread a (image, channels).
extern "C" __global__ void __launch_bounds__(THREADS) global_max(
    const Real* __restrict__ x, int rows, int vecs, int images, Real* __restrict__ y, int* __restrict__ winner) {
  const int c = blockIdx.y * blockDim.x + threadIdx.x, n = blockIdx.x * blockDim.y + threadIdx.y;
  if (c >= vecs || n >= images) return;
  const long long image = (long long)n * rows * vecs + c, own = (long long)n * vecs + c;
  Vec best = load(x, image);
  int first[V] = {};
#pragma unroll 4
  for (int row = 1; row < rows; ++row) {
    const Vec rival = load(x, image + (long long)row * vecs);
    for (int j = 0; j < V; ++j)
      if (best.v[j] == best.v[j] && (rival.v[j] > best.v[j] || rival.v[j] != rival.v[j])) {
        best.v[j] = rival.v[j];
        first[j] = row;
      }
  }
  store(y, own, best);
  for (int j = 0; j < V; ++j) winner[own * V + j] = first[j];
}

extern "C" __global__ void __launch_bounds__(THREADS) global_max_back(
    const Real* __restrict__ dy, const int* __restrict__ winner, int h, int w, int vecs, int pixels,
    Real* __restrict__ dx) {
  const Place me = place(vecs, h, w, pixels);
  if (!me.inside) return;
  const long long own = (long long)me.image * vecs + me.c;
  const Vec g = load(dy, own);
  Vec value;
  for (int j = 0; j < V; ++j) value.v[j] = winner[own * V + j] == me.row * w + me.col ? g.v[j] : (Real)0;
  store(dx, me.at, value);
}
