// Convolution with small groups, depthwise among them, straight from the formula: matrix products would be tiny.
//
// GC and GO are the channels and outputs of a group, KH, KW, SH, SW, DH, DW the window; all set when compiled, so
// that loops unroll. A thread computes WIDE neighbouring outputs of a line, and neighbouring threads neighbouring
// channels. w is (O, KH, KW, GC) here: a group's weights for one tap are neighbours.

constexpr int WIDE = 4;

extern "C" __global__ void __launch_bounds__(THREADS) grouped(
    const Real* __restrict__ x, const Real* __restrict__ weights, int h, int w, int channels, int outputs,
    int out_h, int out_w, int pad_h, int pad_w, int lines, Real* __restrict__ y) {
  const int o = blockIdx.y * blockDim.x + threadIdx.x;
  const int strips = (out_w + WIDE - 1) / WIDE;
  const int strip = blockIdx.x * blockDim.y + threadIdx.y;
  if (o >= outputs || strip >= lines * strips) return;
  const int j = strip % strips * WIDE, index = strip / strips, i = index % out_h, image = index / out_h;
  const Real* kernel = weights + (long long)o * (KH * KW * GC);
  const int first = o / GO * GC;
  Real sum[WIDE] = {};
  for (int p = 0; p < KH; ++p) {
    const int row = i * SH + p * DH - pad_h;
    if (row < 0 || row >= h) continue;
    const Real* line = x + (long long)(image * h + row) * w * channels + first;
#pragma unroll
    for (int q = 0; q < KW; ++q)
#pragma unroll
      for (int k = 0; k < WIDE; ++k) {
        const int col = (j + k) * SW + q * DW - pad_w;
        if (col < 0 || col >= w || j + k >= out_w) continue;
#pragma unroll
        for (int c = 0; c < GC; ++c)
          sum[k] += line[(long long)col * channels + c] * kernel[(p * KW + q) * GC + c];
      }
  }
  for (int k = 0; k < WIDE; ++k)
    if (j + k < out_w) y[((long long)(image * out_h + i) * out_w + j + k) * outputs + o] = sum[k];
}

// One thread a (pixel, channel) of x.
extern "C" __global__ void __launch_bounds__(THREADS) grouped_back(
    const Real* __restrict__ dy, const Real* __restrict__ weights, int h, int w, int channels, int outputs,
    int out_h, int out_w, int pad_h, int pad_w, int pixels, Real* __restrict__ dx) {
  const int c = blockIdx.y * blockDim.x + threadIdx.x;
  const int pixel = blockIdx.x * blockDim.y + threadIdx.y;
  if (c >= channels || pixel >= pixels) return;
  const int col = pixel % w, line = pixel / w, row = line % h, image = line / h;
  const int first = c / GC * GO, inner = c % GC;
  Real sum = 0;
#pragma unroll
  for (int p = 0; p < KH; ++p)
#pragma unroll
    for (int q = 0; q < KW; ++q) {
      const int i = row + pad_h - p * DH, j = col + pad_w - q * DW;
      if (i < 0 || j < 0 || i % SH || j % SW || i / SH >= out_h || j / SW >= out_w) continue;
      const Real* upstream = dy + ((long long)(image * out_h + i / SH) * out_w + j / SW) * outputs + first;
#pragma unroll
      for (int o = 0; o < GO; ++o)
        sum += upstream[o] * weights[((long long)(first + o) * (KH * KW) + p * KW + q) * GC + inner];
    }
  dx[(long long)pixel * channels + c] = sum;
}

// dw over each part of the output's lines (n, i): (parts, KH, GC, KW, O); `column_sums` adds the parts up. A thread
// has an output channel, a row of taps and a channel of the group; blocks (outputs, lines of threads).
extern "C" __global__ void __launch_bounds__(THREADS) grouped_weights(
    const Real* __restrict__ x, const Real* __restrict__ dy, int h, int w, int channels, int outputs, int out_h,
    int out_w, int pad_h, int pad_w, int lines, int lines_a_part, Real* __restrict__ parts) {
  __shared__ Real shared[THREADS];
  const int o = blockIdx.x * blockDim.x + threadIdx.x;
  const int p = blockIdx.y / GC, inner = blockIdx.y % GC;
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  const int first = blockIdx.z * lines_a_part;
  const int last = first + lines_a_part < lines ? first + lines_a_part : lines;
  Real sum[KW] = {};
  if (o < outputs)
    for (int line = first + threadIdx.y; line < last; line += blockDim.y) {
      const int row = line % out_h * SH + p * DH - pad_h;
      if (row < 0 || row >= h) continue;
      const Real* from = x + ((long long)(line / out_h) * h + row) * w * channels + o / GO * GC + inner;
      const Real* upstream = dy + (long long)line * out_w * outputs + o;
      for (int j = 0; j < out_w; ++j) {
        const Real g = upstream[(long long)j * outputs];
#pragma unroll
        for (int q = 0; q < KW; ++q) {
          const int col = j * SW + q * DW - pad_w;
          if (col >= 0 && col < w) sum[q] += g * from[(long long)col * channels];
        }
      }
    }
  for (int q = 0; q < KW; ++q) {
    __syncthreads();
    shared[me] = sum[q];
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
      __syncthreads();
      if ((int)threadIdx.y < half) shared[me] += shared[me + half * blockDim.x];
    }
    if (threadIdx.y == 0 && o < outputs)
      parts[(((long long)blockIdx.z * gridDim.y + blockIdx.y) * KW + q) * outputs + o] = shared[me];
  }
}
