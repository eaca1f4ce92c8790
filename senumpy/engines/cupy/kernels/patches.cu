// What each window of a convolution sees, as a row of a matrix (im2col), and the way back (col2im).
//
// Rows are output pixels (n, i, j), columns (group, tap, channel of the group), so that neighbouring threads read
// and write neighbouring channels. Compiled for one window: KH, KW, SH, SW, DH, DW; padding comes at run time.

__device__ __forceinline__ int column(int c, int tap, int group_channels) {
  return (c / group_channels * (KH * KW) + tap) * group_channels + c % group_channels;
}

// One thread a (tap, channels) of an output pixel: the grid is (tap x channels, output pixels).
extern "C" __global__ void __launch_bounds__(THREADS) patches(
    const Real* __restrict__ x, int h, int w, int vecs, int group_vecs, int row_vecs, int out_h, int out_w, int pad_h,
    int pad_w, int pixels, Real* __restrict__ columns) {
  const int c = blockIdx.y * blockDim.x + threadIdx.x;
  const int pixel = blockIdx.x * blockDim.y + threadIdx.y;
  if (c >= vecs || pixel >= pixels) return;
  const int j = pixel % out_w, line = pixel / out_w, i = line % out_h, image = line / out_h;
#pragma unroll
  for (int p = 0; p < KH; ++p)
#pragma unroll
    for (int q = 0; q < KW; ++q) {
      const int row = i * SH + p * DH - pad_h, col = j * SW + q * DW - pad_w;
      Vec value = filled(0);
      if (row >= 0 && row < h && col >= 0 && col < w) value = load(x, ((long long)(image * h + row) * w + col) * vecs + c);
      store(columns, (long long)pixel * row_vecs + column(c, p * KW + q, group_vecs), value);
    }
}

// The same for few channels, of which a row of threads would be too short to write to memory in one go: here one
// thread has one entry of a row of `columns`. Rows may be longer than what a window sees, by zeros: tensor cores want
// them to begin at multiples of 16 bytes.
extern "C" __global__ void __launch_bounds__(THREADS) narrow_patches(
    const Real* __restrict__ x, int h, int w, int vecs, int group_vecs, int row_vecs, int out_h, int out_w, int pad_h,
    int pad_w, int pixels, Real* __restrict__ columns) {
  const int k = blockIdx.y * blockDim.x + threadIdx.x, pixel = blockIdx.x * blockDim.y + threadIdx.y;
  if (k >= row_vecs || pixel >= pixels) return;
  const int tap = k / group_vecs % (KH * KW), p = tap / KW, q = tap % KW;
  const int c = k / (group_vecs * KH * KW) * group_vecs + k % group_vecs;
  const int j = pixel % out_w, line = pixel / out_w, i = line % out_h, image = line / out_h;
  const int row = i * SH + p * DH - pad_h, col = j * SW + q * DW - pad_w;
  Vec value = filled(0);
  if (k < KH * KW * vecs && row >= 0 && row < h && col >= 0 && col < w)
    value = load(x, ((long long)(image * h + row) * w + col) * vecs + c);
  store(columns, (long long)pixel * row_vecs + k, value);
}

// dx: each entry collects from all windows that saw it. One thread a (pixel, channels) of x.
extern "C" __global__ void __launch_bounds__(THREADS) from_patches(
    const Real* __restrict__ columns, int h, int w, int vecs, int group_vecs, int row_vecs, int out_h, int out_w, int pad_h,
    int pad_w, int pixels, Real* __restrict__ dx) {
  const int c = blockIdx.y * blockDim.x + threadIdx.x;
  const int pixel = blockIdx.x * blockDim.y + threadIdx.y;
  if (c >= vecs || pixel >= pixels) return;
  const int col = pixel % w, line = pixel / w, row = line % h, image = line / h;
  Vec sum = filled(0);
#pragma unroll
  for (int p = 0; p < KH; ++p)
#pragma unroll
    for (int q = 0; q < KW; ++q) {
      const int i = row + pad_h - p * DH, j = col + pad_w - q * DW;  // i SH = row + pad_h - p DH
      if (i < 0 || j < 0 || i % SH || j % SW || i / SH >= out_h || j / SW >= out_w) continue;
      const int window = (image * out_h + i / SH) * out_w + j / SW;
      const Vec part = load(columns, (long long)window * row_vecs + column(c, p * KW + q, group_vecs));
      for (int k = 0; k < V; ++k) sum.v[k] += part.v[k];
    }
  store(dx, (long long)pixel * vecs + c, sum);
}
