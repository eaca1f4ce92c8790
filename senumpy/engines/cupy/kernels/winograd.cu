// Winograd's F(4x4, 3x3) (Lavin & Gray 2015): 3x3 convolution of stride 1 by 36 matrix products, with a quarter of
// the multiplications.
//
//     Y = A^T [ (G g G^T) * (B^T d B) ] A         d: 6x6 of the image, g: 3x3 kernel, Y: 4x4 of the result
//     dg = G^T [ (A dY A^T) * (B^T d B) ] G       summed over tiles
//
// where * is taken for each of the 36 entries, over channels a matrix product. Transformed tiles are
// (36, tiles, channels), kernels (36, rows, columns). One thread a (tile, channel), compiled with V = 1.

__device__ __forceinline__ void times_bt(const Real* d, Real* t, int from, int to) {  // B^T d of one column
  const Real d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
  t[0] = 4 * d0 - 5 * d2 + d4;
  t[to] = d4 + d3 - 4 * (d1 + d2);
  t[2 * to] = d4 - d3 + 4 * (d1 - d2);
  t[3 * to] = d4 - d2 + 2 * (d3 - d1);
  t[4 * to] = d4 - d2 + 2 * (d1 - d3);
  t[5 * to] = 4 * d1 - 5 * d3 + d5;
}

__device__ __forceinline__ void times_at(const Real* m, Real* t, int from, int to) {  // A^T m
  const Real sum12 = m[from] + m[2 * from], diff12 = m[from] - m[2 * from];
  const Real sum34 = m[3 * from] + m[4 * from], diff34 = m[3 * from] - m[4 * from];
  t[0] = m[0] + sum12 + sum34;
  t[to] = diff12 + 2 * diff34;
  t[2 * to] = sum12 + 4 * sum34;
  t[3 * to] = diff12 + 8 * diff34 + m[5 * from];
}

__device__ __forceinline__ void times_a(const Real* g, Real* t, int from, int to) {  // A g
  const Real g0 = g[0], g1 = g[from], g2 = g[2 * from], g3 = g[3 * from];
  t[0] = g0;
  t[to] = g0 + g1 + g2 + g3;
  t[2 * to] = g0 - g1 + g2 - g3;
  t[3 * to] = g0 + 2 * g1 + 4 * g2 + 8 * g3;
  t[4 * to] = g0 - 2 * g1 + 4 * g2 - 8 * g3;
  t[5 * to] = g3;
}

__device__ __forceinline__ void times_g(const Real* g, Real* t, int from, int to) {  // G g
  const Real g0 = g[0], g1 = g[from], g2 = g[2 * from];
  t[0] = g0 / 4;
  t[to] = -(g0 + g1 + g2) / 6;
  t[2 * to] = -(g0 - g1 + g2) / 6;
  t[3 * to] = g0 / 24 + g1 / 12 + g2 / 6;
  t[4 * to] = g0 / 24 - g1 / 12 + g2 / 6;
  t[5 * to] = g2;
}

__device__ __forceinline__ void times_gt(const Real* m, Real* t, int from, int to) {  // G^T m
  const Real m1 = m[from], m2 = m[2 * from], m3 = m[3 * from], m4 = m[4 * from];
  t[0] = m[0] / 4 - (m1 + m2) / 6 + (m3 + m4) / 24;
  t[to] = (m2 - m1) / 6 + (m3 - m4) / 12;
  t[2 * to] = -(m1 + m2) / 6 + (m3 + m4) / 6 + m[5 * from];
}

struct Tile {
  int c, row, col;  // the tile's first row and column of the result
  int image;
  long long index;
  bool inside;
};

__device__ __forceinline__ Tile tile(int channels, int tiles_h, int tiles_w, int tiles) {
  const int index = blockIdx.x * blockDim.y + threadIdx.y, line = index / tiles_w;
  Tile t;
  t.c = blockIdx.y * blockDim.x + threadIdx.x;
  t.inside = t.c < channels && index < tiles;
  t.col = index % tiles_w * 4;
  t.row = line % tiles_h * 4;
  t.image = line / tiles_h;
  t.index = index;
  return t;
}

// B^T d B of each tile of x (N, h, w, C), with zeros around it.
extern "C" __global__ void __launch_bounds__(THREADS) winograd_image(
    const Real* __restrict__ x, int h, int w, int channels, int tiles_h, int tiles_w, int pad_h, int pad_w,
    int tiles, Real* __restrict__ out) {
  const Tile t = tile(channels, tiles_h, tiles_w, tiles);
  if (!t.inside) return;
  Real half[36], d[6], line[6];
#pragma unroll
  for (int j = 0; j < 6; ++j) {
#pragma unroll
    for (int i = 0; i < 6; ++i) {
      const int row = t.row + i - pad_h, col = t.col + j - pad_w;
      const bool in = row >= 0 && row < h && col >= 0 && col < w;
      d[i] = in ? x[((long long)(t.image * h + row) * w + col) * channels + t.c] : (Real)0;
    }
    times_bt(d, half + j, 1, 6);
  }
#pragma unroll
  for (int i = 0; i < 6; ++i) {
    times_bt(half + i * 6, line, 1, 1);
#pragma unroll
    for (int j = 0; j < 6; ++j) out[((i * 6 + j) * tiles + t.index) * channels + t.c] = line[j];
  }
}

// Y = A^T m A of each tile, as far as it lies in the result (N, h, w, channels).
extern "C" __global__ void __launch_bounds__(THREADS) winograd_result(
    const Real* __restrict__ m, int h, int w, int channels, int tiles_h, int tiles_w, int tiles,
    Real* __restrict__ y) {
  const Tile t = tile(channels, tiles_h, tiles_w, tiles);
  if (!t.inside) return;
  Real half[24], column[6], line[4];
#pragma unroll
  for (int j = 0; j < 6; ++j) {
#pragma unroll
    for (int i = 0; i < 6; ++i) column[i] = m[((i * 6 + j) * tiles + t.index) * channels + t.c];
    times_at(column, half + j, 1, 6);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    times_at(half + i * 6, line, 1, 1);
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (t.row + i < h && t.col + j < w)
        y[((long long)(t.image * h + t.row + i) * w + t.col + j) * channels + t.c] = line[j];
  }
}

// A dY A^T of each tile of the upstream gradient (N, h, w, channels).
extern "C" __global__ void __launch_bounds__(THREADS) winograd_upstream(
    const Real* __restrict__ dy, int h, int w, int channels, int tiles_h, int tiles_w, int tiles,
    Real* __restrict__ out) {
  const Tile t = tile(channels, tiles_h, tiles_w, tiles);
  if (!t.inside) return;
  Real half[24], g[4], line[6];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool in = t.row + i < h && t.col + j < w;
      g[i] = in ? dy[((long long)(t.image * h + t.row + i) * w + t.col + j) * channels + t.c] : (Real)0;
    }
    times_a(g, half + j, 1, 4);
  }
#pragma unroll
  for (int i = 0; i < 6; ++i) {
    times_a(half + i * 4, line, 1, 1);
#pragma unroll
    for (int j = 0; j < 6; ++j) out[((i * 6 + j) * tiles + t.index) * channels + t.c] = line[j];
  }
}

// G g G^T of each kernel: (36, rows, columns) where kernel (r, c) begins at r row_step + c column_step; turned by
// 180 degrees for the gradient of the image.
extern "C" __global__ void __launch_bounds__(THREADS) winograd_kernels(
    const Real* __restrict__ weights, int rows, int columns, int row_step, int column_step, int turned,
    Real* __restrict__ out) {
  const long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x, count = (long long)rows * columns;
  if (index >= count) return;
  const Real* kernel = weights + index / columns * row_step + index % columns * column_step;
  Real g[9], half[18], line[6];
#pragma unroll
  for (int k = 0; k < 9; ++k) g[k] = kernel[turned ? 8 - k : k];
#pragma unroll
  for (int j = 0; j < 3; ++j) times_g(g + j, half + j, 3, 3);
#pragma unroll
  for (int i = 0; i < 6; ++i) {
    times_g(half + i * 3, line, 1, 1);
#pragma unroll
    for (int j = 0; j < 6; ++j) out[(i * 6 + j) * count + index] = line[j];
  }
}

// dg = G^T m G of each kernel: (36, kernels) -> (kernels, 3, 3).
extern "C" __global__ void __launch_bounds__(THREADS) winograd_kernels_back(
    const Real* __restrict__ m, long long kernels, Real* __restrict__ dw) {
  const long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= kernels) return;
  Real half[18], column[6], line[3];
#pragma unroll
  for (int j = 0; j < 6; ++j) {
#pragma unroll
    for (int i = 0; i < 6; ++i) column[i] = m[(i * 6 + j) * kernels + index];
    times_gt(column, half + j, 1, 6);
  }
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    times_gt(half + i * 6, line, 1, 1);
#pragma unroll
    for (int j = 0; j < 3; ++j) dw[index * 9 + i * 3 + j] = line[j];
  }
}
