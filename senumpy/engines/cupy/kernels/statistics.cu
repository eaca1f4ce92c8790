// Mean and variance of each channel, over the batch and over each image, in one reading of the activation.
//
// A thread sums x - shift and its square over its own rows, where the shift is its own first value. As that is
// one of the values, (shift - mean)^2 is at most count * variance: little is lost to cancellation, whatever the
// mean. Runs of rows then merge (Chan, Golub, LeVeque 1979):
//     n = na + nb,  d = mb - ma,  mean = ma + d nb / n,  M2 = M2a + M2b + d^2 na nb / n

struct Moments {
  double count, mean, square;  // square: sum of squared deviations, M2
};

__device__ __forceinline__ Moments merge(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const double n = a.count + b.count, d = b.mean - a.mean;
  Moments both = {n, a.mean + d * (b.count / n), a.square + b.square + d * d * (a.count * b.count / n)};
  return both;
}

// Each part of an image: mean and M2 (images, parts, C).
extern "C" __global__ void __launch_bounds__(THREADS) part_moments(
    const Real* __restrict__ x, int rows, int vecs, int rows_a_part, Real* __restrict__ mean,
    Real* __restrict__ square) {
  __shared__ Vec means[THREADS], squares[THREADS];
  __shared__ int counts[THREADS];
  const Span s = span(rows, vecs, rows_a_part);
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  Vec shift = filled(0), sum = filled(0), sum2 = filled(0);
  int count = 0;
  if (s.first < s.last) shift = load(x, s.at + (long long)s.first * vecs);
#pragma unroll 4
  for (int row = s.first; row < s.last; row += s.step) {
    const Vec value = load(x, s.at + (long long)row * vecs);
    for (int j = 0; j < V; ++j) {
      const Real d = value.v[j] - shift.v[j];
      sum.v[j] += d;
      sum2.v[j] += d * d;
    }
    ++count;
  }
  const Real share = count ? (Real)1 / count : (Real)0;
  for (int j = 0; j < V; ++j) {
    means[me].v[j] = shift.v[j] + sum.v[j] * share;
    squares[me].v[j] = sum2.v[j] - sum.v[j] * sum.v[j] * share;
  }
  counts[me] = count;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half) {
      const int other = me + half * blockDim.x;
      for (int j = 0; j < V; ++j) {
        const Moments a = {(double)counts[me], means[me].v[j], squares[me].v[j]};
        const Moments b = {(double)counts[other], means[other].v[j], squares[other].v[j]};
        const Moments both = merge(a, b);
        means[me].v[j] = (Real)both.mean;
        squares[me].v[j] = (Real)both.square;
      }
      counts[me] += counts[other];
    }
  }
  if (threadIdx.y == 0 && s.c < vecs) {
    const long long to = ((long long)blockIdx.z * gridDim.y + blockIdx.y) * vecs + s.c;
    store(mean, to, means[me]);
    store(square, to, squares[me]);
  }
}

__device__ __forceinline__ Moments image_moments(
    const Real* mean, const Real* square, int image, int c, int channels, int parts, int rows, int rows_a_part) {
  Moments total = {0, 0, 0};
  for (int part = 0; part < parts; ++part) {
    const int left = rows - part * rows_a_part;
    const long long at = ((long long)image * parts + part) * channels + c;
    const Moments one = {(double)(left < rows_a_part ? left : rows_a_part), mean[at], square[at]};
    total = merge(total, one);
  }
  return total;
}

// All parts: what batch norm needs of each channel, and of each image's channels the mean of xhat (`xhat_mean`,
// (N, C)) and that of the result (`z`, SE's squeeze). A column of threads shares a channel's images.
extern "C" __global__ void __launch_bounds__(THREADS) batch_moments(
    const Real* __restrict__ part_mean, const Real* __restrict__ part_square, int images, int parts, int rows,
    int rows_a_part, int channels, const Real* __restrict__ gamma, const Real* __restrict__ beta, double eps,
    Real* __restrict__ mean, Real* __restrict__ var, Real* __restrict__ rstd, Real* __restrict__ scale,
    Real* __restrict__ xhat_mean, Real* __restrict__ z) {
  __shared__ Moments shared[THREADS];
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  Moments mine = {0, 0, 0};
  if (c < channels)
    for (int image = threadIdx.y; image < images; image += blockDim.y)
      mine = merge(mine, image_moments(part_mean, part_square, image, c, channels, parts, rows, rows_a_part));
  shared[me] = mine;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half) shared[me] = merge(shared[me], shared[me + half * blockDim.x]);
  }
  __syncthreads();
  if (c >= channels) return;
  const Moments total = shared[threadIdx.x];
  const double variance = total.square / total.count, r = 1.0 / sqrt(variance + eps);
  if (threadIdx.y == 0) {
    mean[c] = (Real)total.mean;
    var[c] = (Real)variance;
    rstd[c] = (Real)r;
    scale[c] = (Real)(gamma[c] * r);
  }
  if (!xhat_mean) return;
  for (int image = threadIdx.y; image < images; image += blockDim.y) {
    const Moments one = image_moments(part_mean, part_square, image, c, channels, parts, rows, rows_a_part);
    const double xhat = (one.mean - total.mean) * r;
    xhat_mean[(long long)image * channels + c] = (Real)xhat;
    z[(long long)image * channels + c] = (Real)(xhat * gamma[c] + beta[c]);
  }
}

// Sum of each part of an image over its rows, times `factor`: (images, parts, C).
extern "C" __global__ void __launch_bounds__(THREADS) part_sums(
    const Real* __restrict__ x, const Real* __restrict__ y, int rows, int vecs, int rows_a_part, Real factor,
    Real* __restrict__ sums) {
  __shared__ Vec shared[THREADS];
  const Span s = span(rows, vecs, rows_a_part);
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  Vec sum = filled(0);
#pragma unroll 4
  for (int row = s.first; row < s.last; row += s.step) {
    const long long at = s.at + (long long)row * vecs;
    const Vec a = load(x, at), b = y ? load(y, at) : filled(1);
    for (int j = 0; j < V; ++j) sum.v[j] += a.v[j] * b.v[j];
  }
  shared[me] = sum;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half)
      for (int j = 0; j < V; ++j) shared[me].v[j] += shared[me + half * blockDim.x].v[j];
  }
  if (threadIdx.y == 0 && s.c < vecs) {
    for (int j = 0; j < V; ++j) sum.v[j] = shared[me].v[j] * factor;
    store(sums, ((long long)blockIdx.z * gridDim.y + blockIdx.y) * vecs + s.c, sum);
  }
}

// Sum over the first axis of (count, C), by columns of threads; `groups` such sums beside each
// other (the grid's second axis): (groups, count, C) -> (groups, C).
extern "C" __global__ void __launch_bounds__(THREADS) column_sums(
    const Real* __restrict__ x, int count, int channels, Real* __restrict__ sums) {
  __shared__ double shared[THREADS];
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  double sum = 0;
  if (c < channels)
    for (int k = threadIdx.y; k < count; k += blockDim.y)
      sum += x[((long long)blockIdx.y * count + k) * channels + c];
  shared[me] = sum;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half) shared[me] += shared[me + half * blockDim.x];
  }
  if (threadIdx.y == 0 && c < channels) sums[(long long)blockIdx.y * channels + c] = (Real)shared[me];
}

// running = (1 - momentum) running + momentum batch, of mean and variance; `unbiased` is count / (count - 1).
extern "C" __global__ void __launch_bounds__(THREADS) move_running(
    const Real* __restrict__ mean, const Real* __restrict__ var, int channels, double unbiased, double momentum,
    Real* __restrict__ running_mean, Real* __restrict__ running_var) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const Real m = (Real)momentum, keep = (Real)(1 - momentum);
  running_mean[c] = keep * running_mean[c] + m * mean[c];
  running_var[c] = keep * running_var[c] + m * (var[c] * (Real)unbiased);
}
