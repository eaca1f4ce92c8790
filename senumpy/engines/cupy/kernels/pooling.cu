// Pools over windows and over whole images. One thread a (pixel, channel) of what is written.

struct Place {
  int c, row, col;
  long long image, pixel;
  bool inside;
};

__device__ __forceinline__ Place place(int channels, int h, int w, long long pixels) {
  Place at;
  at.c = blockIdx.y * blockDim.x + threadIdx.x;
  at.pixel = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  at.inside = at.c < channels && at.pixel < pixels;
  at.col = (int)(at.pixel % w);
  at.row = (int)(at.pixel / w % h);
  at.image = at.pixel / ((long long)w * h);
  return at;
}

// The maximum of each window and which tap it came from: of equal ones the first; NaN wins.
extern "C" __global__ void __launch_bounds__(THREADS) max_pool(
    const Real* __restrict__ x, int h, int w, int channels, int out_h, int out_w, int kh, int kw, int sh, int sw,
    int pad_h, int pad_w, long long pixels, Real* __restrict__ y, unsigned char* __restrict__ winner) {
  const Place at = place(channels, out_h, out_w, pixels);
  if (!at.inside) return;
  Real best = 0;
  int tap = -1;
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int row = at.row * sh + p - pad_h, col = at.col * sw + q - pad_w;
      if (row < 0 || row >= h || col < 0 || col >= w) continue;
      const Real rival = x[((at.image * h + row) * w + col) * channels + at.c];
      if (tap < 0 || rival > best || rival != rival) {
        best = rival;
        tap = p * kw + q;
      }
    }
  y[at.pixel * channels + at.c] = best;
  winner[at.pixel * channels + at.c] = (unsigned char)tap;
}

// An entry collects the gradient of all windows that it won.
extern "C" __global__ void __launch_bounds__(THREADS) max_pool_back(
    const Real* __restrict__ dy, const unsigned char* __restrict__ winner, int h, int w, int channels, int out_h,
    int out_w, int kh, int kw, int sh, int sw, int pad_h, int pad_w, long long pixels, Real* __restrict__ dx) {
  const Place at = place(channels, h, w, pixels);
  if (!at.inside) return;
  Real sum = 0;
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int i = at.row + pad_h - p, j = at.col + pad_w - q;
      if (i < 0 || j < 0 || i % sh || j % sw || i / sh >= out_h || j / sw >= out_w) continue;
      const long long window = ((at.image * out_h + i / sh) * out_w + j / sw) * channels + at.c;
      if (winner[window] == p * kw + q) sum += dy[window];
    }
  dx[at.pixel * channels + at.c] = sum;
}

// The mean of each window; `counts` (out_h, out_w) says what its sum is divided by.
extern "C" __global__ void __launch_bounds__(THREADS) avg_pool(
    const Real* __restrict__ x, const Real* __restrict__ counts, int h, int w, int channels, int out_h, int out_w,
    int kh, int kw, int sh, int sw, int pad_h, int pad_w, long long pixels, Real* __restrict__ y) {
  const Place at = place(channels, out_h, out_w, pixels);
  if (!at.inside) return;
  Real sum = 0;
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int row = at.row * sh + p - pad_h, col = at.col * sw + q - pad_w;
      if (row >= 0 && row < h && col >= 0 && col < w)
        sum += x[((at.image * h + row) * w + col) * channels + at.c];
    }
  y[at.pixel * channels + at.c] = sum / counts[at.row * out_w + at.col];
}

extern "C" __global__ void __launch_bounds__(THREADS) avg_pool_back(
    const Real* __restrict__ dy, const Real* __restrict__ counts, int h, int w, int channels, int out_h,
    int out_w, int kh, int kw, int sh, int sw, int pad_h, int pad_w, long long pixels, Real* __restrict__ dx) {
  const Place at = place(channels, h, w, pixels);
  if (!at.inside) return;
  Real sum = 0;
  for (int p = 0; p < kh; ++p)
    for (int q = 0; q < kw; ++q) {
      const int i = at.row + pad_h - p, j = at.col + pad_w - q;
      if (i < 0 || j < 0 || i % sh || j % sw || i / sh >= out_h || j / sw >= out_w) continue;
      const long long window = (at.image * out_h + i / sh) * out_w + j / sw;
      sum += dy[window * channels + at.c] / counts[i / sh * out_w + j / sw];
    }
  dx[at.pixel * channels + at.c] = sum;
}

// The maximum of each image's channels, and the first pixel that has it: one thread a (image, channel).
extern "C" __global__ void __launch_bounds__(THREADS) global_max(
    const Real* __restrict__ x, int rows, int channels, Real* __restrict__ y, int* __restrict__ winner) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const Real* image = x + (long long)blockIdx.y * rows * channels + c;
  Real best = image[0];
  int first = 0;
  for (int row = 1; row < rows; ++row) {
    const Real rival = image[(long long)row * channels];
    if (best == best && (rival > best || rival != rival)) {
      best = rival;
      first = row;
    }
  }
  y[(long long)blockIdx.y * channels + c] = best;
  winner[(long long)blockIdx.y * channels + c] = first;
}

extern "C" __global__ void __launch_bounds__(THREADS) global_max_back(
    const Real* __restrict__ dy, const int* __restrict__ winner, int h, int w, int channels, long long pixels,
    Real* __restrict__ dx) {
  const Place at = place(channels, h, w, pixels);
  if (!at.inside) return;
  const long long own = at.image * channels + at.c;
  dx[at.pixel * channels + at.c] = winner[own] == at.row * w + at.col ? dy[own] : (Real)0;
}
